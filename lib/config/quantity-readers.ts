import { refuse, type Reader, ValueError } from "./readers.ts";

const SIZES: Readonly<Record<string, number>> = { "": 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const DURATIONS: Readonly<Record<string, number>> = { "": 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Bytes: `65536`, `64KiB`, `6MiB`, `1GiB`. */
export function size(min: number, max: number): Reader<number> {
  return (value) =>
    withUnit(value, SIZES, min, max) ??
    refuse(`a size from ${showSize(min)} to ${showSize(max)}, in bytes or with KiB, MiB or GiB`);
}

/** Milliseconds: `500`, `500ms`, `30s`, `5m`, `1h`. */
export function duration(minMs: number, maxMs: number): Reader<number> {
  return (value) =>
    withUnit(value, DURATIONS, minMs, maxMs) ??
    refuse(`a time from ${showDuration(minMs)} to ${showDuration(maxMs)}, in milliseconds or with ms, s, m or h`);
}

function withUnit(
  value: string,
  units: Readonly<Record<string, number>>,
  min: number,
  max: number,
): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,15}) ?([A-Za-z]*)$/.exec(value) ?? [];
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (digits === undefined || factor === undefined) return undefined;
  const number = Number(digits) * factor;
  return number >= min && number <= max ? number : undefined;
}

/** Formats bytes in the largest unit that leaves a whole number: `6MiB` for 6291456. */
export function showSize(bytes: number): string {
  return show(bytes, SIZES);
}

/** Formats milliseconds: `30s` for 30000. */
export function showDuration(ms: number): string {
  return show(ms, DURATIONS);
}

function show(number: number, units: Readonly<Record<string, number>>): string {
  const [unit, factor] = Object.entries(units).findLast(([, factor]) => number !== 0 && number % factor === 0) ?? [
    "",
    1,
  ];
  return `${number / factor}${unit}`;
}

/** A part of the whole: a number from 0 to 1. */
export const ratio: Reader<number> = (value) => {
  const number = /^(?:\d+(?:\.\d*)?|\.\d+)$/.test(value) ? Number(value) : Number.NaN;
  if (!(number <= 1)) throw new ValueError("a number from 0 to 1");
  return number;
};
