import { type Measurement, show } from "../compare.ts";
import { type Row, ROWS } from "./rows.ts";

/** Formats measurements as a Markdown table. */
export function formatTable(measurements: readonly Measurement[]): string {
  const rows = measurements.map((measurement) => {
    const { value, unit, sides } = measurement;
    const { metric, goal, stretch }: Row = ROWS[measurement.row];
    const spread =
      value.min === value.max ? show(value.median) : `${show(value.median)} (${show(value.min)} to ${show(value.max)})`;
    const measured = sides.map(({ name, figure }) => `${name}: ${figure}`).join("; ");
    return `| ${metric} | ${spread}${unit && ` ${unit}`}${missed(measurement)} | ${limit(measurement, goal)} | ${limit(measurement, stretch)} | ${measured} |`;
  });
  return [
    "| metric | median of the rounds (min to max) | goal | stretch | measured |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

function limit({ higher }: Measurement, value: number | null): string {
  return value === null ? "" : `${higher ? "at least" : "at most"} ${value.toLocaleString("en")}`;
}

function missed({ row, higher, value: { median } }: Measurement): string {
  const { goal }: Row = ROWS[row];
  if (goal === null || (higher ? median >= goal : median <= goal)) return "";
  return ", missed";
}
