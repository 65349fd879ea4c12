import type { Comparison } from "./compare.ts";

/** One line of the table. */
export type Measurement = Comparison;

const round = (value: number) =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(2);

/** The measurements as a table in Markdown. */
export function formatTable(measurements: readonly Measurement[]): string {
  const rows = measurements.map(({ metric, ratio, target, sides }) => {
    const spread = `${round(ratio.median)} (${round(ratio.min)} to ${round(ratio.max)})`;
    const [first, second] = sides.map(
      ({ name, p50, p90, p99, cpu_ms }) =>
        `${name}: ${round(p50)} / ${round(p90)} / ${round(p99)} ms, ${round(cpu_ms)} ms CPU`,
    );
    return `| ${metric} | ${spread} | ${target ?? ""} | ${first ?? ""} | ${second ?? ""} |`;
  });
  return [
    "| metric | ratio, median of rounds (min to max) | target | p50 / p90 / p99 and CPU time of a call | beside |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}
