import { useEffect, useRef } from "preact/hooks";
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
  say,
}: {
  readonly title: string;
  /** Seconds since the epoch. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
  readonly say: string;
}) {
  const place = useRef<HTMLDivElement>(null);
  const key = series.map(({ label }) => label).join();
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const plot = new uPlot(optionsOf(element, series, format), dataOf(times, series), element);
    const resized = new ResizeObserver(() => plot.setSize(sizeOf(element)));
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [key, times, series, format]);
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

const HEIGHT = 150;

function sizeOf(element: HTMLElement): { width: number; height: number } {
  return { width: Math.max(120, element.clientWidth), height: HEIGHT };
}

function dataOf(times: readonly number[], series: readonly Series[]): uPlot.AlignedData {
  return [[...times], ...series.map(({ values }) => [...values])];
}

function optionsOf(element: HTMLElement, series: readonly Series[], format: (value: number) => string): uPlot.Options {
  const style = getComputedStyle(element);
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
    scales: { y: { range: (_plot, _min, max) => [0, Math.max(max * 1.1, 1e-9)] } },
    axes: [
      { ...axis, size: 26 },
      { ...axis, size: 62, values: (_plot, ticks) => ticks.map(format) },
    ],
    series: [
      {},
      ...series.map(({ label, colour: name, filled }) => ({
        label,
        stroke: colour(name),
        width: 1.5,
        points: { show: false },
        ...(filled === true && { fill: `color-mix(in srgb, ${colour(name)} 18%, transparent)` }),
      })),
    ],
  };
}
