import { useMemo } from "preact/hooks";
import { withQuery } from "../../data/api.ts";
import type { Stats } from "../../data/stats.ts";
import { useData } from "../../data/use-data.ts";
import { count, duration, percent } from "../../format/numbers.ts";
import { Chart, type Series } from "../../parts/chart.tsx";
import { Figure } from "../../parts/facts.tsx";
import { Loading, Problem } from "../../parts/notices.tsx";
import { useNow } from "../../parts/time.tsx";
import { lengthOf, type Range } from "./range.tsx";

/** The charts are made anew this often, in milliseconds. */
const FRESH_MS = 10_000;

/** Figures and charts of the calls within a range: of all functions, or of one. */
export function Charts({ range, function_id }: { readonly range: Range; readonly function_id?: string }) {
  const now = Math.floor(useNow() / FRESH_MS) * FRESH_MS;
  const since = new Date(now - lengthOf(range)).toISOString();
  const path = withQuery("/v1/stats", { function_id, since });
  const { data: latest, error } = useData<Stats>(path);
  const stats = useLast(latest);
  if (stats === undefined) return error === undefined ? <Loading /> : <Problem error={error} />;
  return (
    <>
      <Problem error={error} />
      <Totals stats={stats} range={range} />
      <Plots stats={stats} />
    </>
  );
}

/** The last value that was known: a chart stays until the next one is there. */
function useLast<T>(value: T | undefined): T | undefined {
  const kept = useMemo<{ value: T | undefined }>(() => ({ value: undefined }), []);
  if (value !== undefined) kept.value = value;
  return kept.value;
}

function Totals({ stats: { totals }, range }: { readonly stats: Stats; readonly range: Range }) {
  const { calls, errors, error_ratio, duration_ms, cold, warm, cold_ratio, queue_ms } = totals;
  return (
    <div class="figures" role="group" aria-label={`Calls of the last ${range}`}>
      <Figure name="Calls" value={count(calls)} note={`last ${range}`} />
      <Figure
        name="Errors"
        value={count(errors)}
        note={error_ratio === null ? "no calls" : percent(error_ratio)}
        tone={errors > 0 ? "bad" : "plain"}
      />
      <Figure name="p50" value={duration(duration_ms?.p50)} note="half are slower" />
      <Figure name="p95" value={duration(duration_ms?.p95)} note="1 in 20 is slower" />
      <Figure name="p99" value={duration(duration_ms?.p99)} note="1 in 100 is slower" />
      <Figure
        name="Cold starts"
        value={count(cold)}
        note={cold_ratio === null ? "no calls" : `${percent(cold_ratio)}; ${count(warm)} warm`}
      />
      <Figure name="Queue p99" value={duration(queue_ms?.p99)} note="wait for a place" />
    </div>
  );
}

const perPoint = (value: number) => count(Math.round(value * 100) / 100);

function Plots({ stats }: { readonly stats: Stats }) {
  const { points, totals } = stats;
  const plots = useMemo(() => {
    const series = (
      label: string,
      colour: Series["colour"],
      value: (point: Stats["points"][number]) => number | null,
    ) => ({
      label,
      colour,
      values: points.map(value),
    });
    return {
      times: points.map(({ at }) => Date.parse(at) / 1_000),
      calls: [
        { ...series("succeeded", "green", ({ succeeded }) => succeeded), filled: true },
        { ...series("errors", "red", ({ errors }) => errors), filled: true },
      ],
      durations: [
        series("p50", "blue", ({ duration_ms }) => duration_ms?.p50 ?? null),
        series("p95", "violet", ({ duration_ms }) => duration_ms?.p95 ?? null),
        series("p99", "amber", ({ duration_ms }) => duration_ms?.p99 ?? null),
      ],
      starts: [
        { ...series("warm", "blue", ({ warm }) => warm), filled: true },
        { ...series("cold", "amber", ({ cold }) => cold), filled: true },
      ],
    };
  }, [points]);
  const { duration_ms } = totals;
  return (
    <div class="charts">
      <Chart
        title={`Calls per ${duration(stats.step_ms).replace(/^1 /, "")}`}
        times={plots.times}
        series={plots.calls}
        format={perPoint}
        least={1}
        say={`${count(totals.succeeded)} succeeded, ${count(totals.errors)} errors`}
      />
      <Chart
        title="Duration"
        times={plots.times}
        series={plots.durations}
        format={duration}
        least={10}
        say={`p50 ${duration(duration_ms?.p50)}, p95 ${duration(duration_ms?.p95)}, p99 ${duration(duration_ms?.p99)}`}
      />
      <Chart
        title="Starts"
        times={plots.times}
        series={plots.starts}
        format={perPoint}
        least={1}
        say={`${count(totals.warm)} warm, ${count(totals.cold)} cold`}
      />
    </div>
  );
}
