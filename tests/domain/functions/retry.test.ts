import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { REASONS } from "../../../lib/domain/errors.ts";
import { RETRY_DELAY_MS } from "../../../lib/domain/limits.ts";
import { backoff, judgeRetry, RETRY_CAUSES, RETRY_DEFAULT, retryCause } from "../../../lib/domain/functions/retry.ts";

const delay = fc.integer({ min: 0, max: RETRY_DELAY_MS.max });
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("backoff", () => {
  test.each([
    [1, 0, 1_000],
    [1, 0.5, 1_500],
    [2, 1, 4_000],
    [3, 1, 8_000],
    [6, 1, 60_000],
    [1_000, 1, 60_000],
  ])("after attempt %d with the draw %d it is %d ms", (attempts, random, wait) => {
    expect(backoff(RETRY_DEFAULT, attempts, random)).toBe(wait);
  });

  test("stays between min_ms and max_ms, and never shrinks with more attempts", () => {
    fc.assert(
      fc.property(delay, delay, fc.integer({ min: 1, max: 200 }), chance, (min_ms, max_ms, attempts, random) => {
        const wait = backoff({ min_ms, max_ms }, attempts, random);
        expect(wait).toBeGreaterThanOrEqual(min_ms);
        expect(wait).toBeLessThanOrEqual(Math.max(min_ms, max_ms));
        expect(backoff({ min_ms, max_ms }, attempts + 1, random)).toBeGreaterThanOrEqual(wait);
      }),
    );
  });
});

describe("judgeRetry", () => {
  const judge = (failed: Partial<Parameters<typeof judgeRetry>[1]>, retry = RETRY_DEFAULT) =>
    judgeRetry(retry, { reason: "function_failed", attempts: 1, ...failed }, 0);

  test("retries until max_attempts were made", () => {
    expect(judge({ attempts: 2 })).toEqual({ retry: true, after_ms: 1_000 });
    expect(judge({ attempts: 3 })).toEqual({ retry: false });
  });

  test("retries only causes in `on`", () => {
    for (const cause of RETRY_CAUSES) {
      for (const reason of REASONS) {
        const verdict = judge({ reason }, { ...RETRY_DEFAULT, on: [cause] });
        expect([reason, verdict.retry]).toEqual([reason, retryCause(reason) === cause]);
      }
    }
  });

  test("never retries what would end the same way", () => {
    for (const reason of ["invalid_response", "response_too_large", "entrypoint_failed"] as const)
      expect(judge({ reason })).toEqual({ retry: false });
  });

  test("follows a function that refuses a retry, and one that asks for a time, within a day", () => {
    expect(judge({ wish: { retry: false } })).toEqual({ retry: false });
    expect(judge({ wish: { retry_after_ms: 5 } })).toEqual({ retry: true, after_ms: 5 });
    expect(judge({ wish: { retry_after_ms: 1e12 } })).toEqual({ retry: true, after_ms: RETRY_DELAY_MS.max });
    expect(judge({ wish: { retry_after_ms: 5, retry: false } })).toEqual({ retry: false });
    expect(judge({ wish: { retry_after_ms: 5 }, attempts: 3 })).toEqual({ retry: false });
  });
});
