import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

/** A line or an area of a chart. */
export interface Series {
  readonly label: string;
  /** The name of a colour of the style sheet. */
  readonly colour: "blue" | "red" | "green" | "amber" | "violet";
  readonly values: readonly (number | null)[];
  readonly filled?: boolean;
}

/** A chart over time. `say` is read out in place of it. */
export function Chart({
  title,
  times,
  series,
  format,
  least,
  say,
}: {
  readonly title: string;
  /** Seconds since the epoch. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
  /** The least height of the chart, and of the steps at its side: a chart of nothing has a scale, too. */
  readonly least: number;
  readonly say: string;
}) {
  const place = useRef<HTMLDivElement>(null);
  const key = series.map(({ label }) => label).join();
  const isDark = useDark();
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const plot = new uPlot(optionsOf(element, series, { format, least }), dataOf(times, series), element);
    const resized = new ResizeObserver(() => plot.setSize(sizeOf(element)));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [key, times, series, format, least, isDark]);
  return (
    <figure class="chart">
      <figcaption>
        {title}
        <span class="keys" aria-hidden="true">
          {series.map(({ label, colour }) => (
            <span key={label}>
              <i class={colour} />
              {label}
            </span>
          ))}
        </span>
      </figcaption>
      <div class="plot" role="img" aria-label={`${title}: ${say}`} ref={place} />
    </figure>
  );
}

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Returns whether the reader's system is in dark: what is drawn is drawn again when that changes. */
function useDark(): boolean {
  const [isDark, setDark] = useState(DARK.matches);
  useEffect(() => {
    const change = () => setDark(DARK.matches);
    DARK.addEventListener("change", change);
    return () => DARK.removeEventListener("change", change);
  }, []);
  return isDark;
}

const HEIGHT = 150;
/** So few values are drawn as larger points. */
const SPARSE = 5;
/** From here on a chart's times are days. */
const DAYS_S = 2 * 86_400;

function sizeOf(element: HTMLElement): { width: number; height: number } {
  return { width: Math.max(120, element.clientWidth), height: HEIGHT };
}

function dataOf(times: readonly number[], series: readonly Series[]): uPlot.AlignedData {
  return [[...times], ...series.map(({ values }) => [...values])];
}

/** The steps of a scale are 1, 2 or 5 times a power of ten. */
const STEPS = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

function optionsOf(
  element: HTMLElement,
  series: readonly Series[],
  { format, least }: { readonly format: (value: number) => string; readonly least: number },
): uPlot.Options {
  const style = getComputedStyle(element);
  const isSparse = series.every(({ values }) => values.filter((value) => value !== null).length <= SPARSE);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const axis: uPlot.Axis = {
    stroke: colour("quiet"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
    font: `11px ${style.fontFamily}`,
  };
  return {
    ...sizeOf(element),
    legend: { show: false },
    cursor: { y: false, points: { size: 5 } },
    scales: { y: { range: (_plot, _min, max) => [0, Math.max(max * 1.1, least)] } },
    axes: [
      { ...axis, size: 24, values: (plot, ticks) => ticks.map((tick) => timeAt(tick, plot)) },
      { ...axis, size: 52, incrs: STEPS, values: (_plot, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...series.map(({ label, colour: name, filled }) => ({
        label,
        stroke: colour(name),
        width: 1.5,
        // A value without neighbours has no line.
        points: { show: filled !== true, size: isSparse ? 6 : 3, fill: colour(name), width: 0 },
        ...(filled === true && { fill: `color-mix(in srgb, ${colour(name)} 18%, transparent)` }),
      })),
    ],
  };
}

/** Returns the time of a tick: of the day, or the day itself if the chart is about several. */
function timeAt(tick: number, { scales }: uPlot): string {
  const { min, max } = scales["x"] ?? {};
  const isDays = typeof min === "number" && typeof max === "number" && max - min > DAYS_S;
  const parts = isDays
    ? ({ month: "short", day: "numeric" } as const)
    : ({ hour: "2-digit", minute: "2-digit" } as const);
  return new Date(tick * 1_000).toLocaleString("en-GB", parts);
}
