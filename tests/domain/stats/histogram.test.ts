import { expect, test } from "bun:test";
import fc from "fast-check";
import { Histogram, RELATIVE_ERROR } from "../../../lib/domain/stats/histogram.ts";

/** Times from a microsecond to a day, in milliseconds, as records have them: in whole microseconds. */
const times = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 5_000_000 }), fc.integer({ min: 1, max: 86_400_000_000 })).map((us) => us / 1000),
  { minLength: 1, maxLength: 200 },
);

function histogramOf(all: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const ms of all) histogram.add(ms);
  return histogram;
}

function exactly(all: readonly number[], part: number): number {
  const ordered = all.toSorted((a, b) => a - b);
  return ordered[Math.max(0, Math.ceil(part * all.length) - 1)] ?? Number.NaN;
}

test("Histogram quantiles are within 2.5 % of the true ones", () => {
  fc.assert(
    fc.property(times, fc.double({ min: 0, max: 1, noNaN: true }), (all, part) => {
      const [found] = histogramOf(all).quantiles([part]) ?? [];
      const exact = exactly(all, part);
      // Four digits are shown.
      expect(Math.abs((found ?? Number.NaN) - exact)).toBeLessThanOrEqual(exact * (RELATIVE_ERROR + 0.0005));
    }),
  );
});

test("Histogram merge is the same as to have been told everything", () => {
  fc.assert(
    fc.property(times, times, (some, others) => {
      const merged = histogramOf(some);
      merged.merge(histogramOf(others));
      expect(new Map(merged.counts)).toEqual(new Map(histogramOf([...some, ...others]).counts));
    }),
  );
});

test("Histogram counts what has no place: nothing, less than nothing, more than a day", () => {
  expect(new Histogram().quantiles([0.5])).toBeUndefined();
  expect(histogramOf([0, -5, Number.NaN]).quantiles([0, 1])).toEqual([0, 0]);
  const [longest] = histogramOf([1e15]).quantiles([1]) ?? [];
  expect(longest).toBeGreaterThan(86_400_000);
  expect(histogramOf([1e15]).counts).toEqual(new Map([[511, 1]]));
});
