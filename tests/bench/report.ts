import { type Measurement, show } from "./compare.ts";

/** Formats measurements as a Markdown table. */
export function formatTable(measurements: readonly Measurement[]): string {
  const rows = measurements.map(({ metric, value, unit, target, higher, sides }) => {
    const spread =
      value.min === value.max ? show(value.median) : `${show(value.median)} (${show(value.min)} to ${show(value.max)})`;
    const goal = target === null ? "" : `${higher ? "at least" : "at most"} ${target}`;
    return `| ${metric} | ${spread}${unit && ` ${unit}`} | ${goal} | ${sides.map(({ name, figure }) => `${name}: ${figure}`).join("; ")} |`;
  });
  return [
    "| metric | median of the rounds (min to max) | target | measured |",
    "| --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}
