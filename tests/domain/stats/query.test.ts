import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { parseStatsRange, type RawStatsQuery } from "../../../lib/domain/stats/query.ts";

const NOW = Date.UTC(2026, 0, 31, 12, 34, 56, 789);
const MINUTE = 60_000;
const HOUR = 3_600_000;

const range = (query: RawStatsQuery) => {
  const { since, until, ...rest } = parseStatsRange(query, NOW);
  return { since: new Date(since).toISOString(), until: new Date(until).toISOString(), ...rest };
};
const ago = (ms: number) => new Date(NOW - ms).toISOString();

describe("parseStatsRange", () => {
  test("is the last hour by minute, if nothing is asked for", () => {
    expect(range({})).toEqual({
      since: "2026-01-31T11:34:00.000Z",
      until: "2026-01-31T12:35:00.000Z",
      step_ms: MINUTE,
      resolution: "minute",
    });
  });

  test.each<[string, number, number]>([
    ["an hour", HOUR, MINUTE],
    ["a day", 24 * HOUR, 10 * MINUTE],
    ["two days", 48 * HOUR, 30 * MINUTE],
    ["a week", 168 * HOUR, HOUR],
    ["30 days", 720 * HOUR, 6 * HOUR],
    ["90 days", 2160 * HOUR, 12 * HOUR],
  ])("chooses a step for %s", (_, length, step_ms) => {
    const found = parseStatsRange({ since: ago(length) }, NOW);
    expect(found.step_ms).toBe(step_ms);
    expect((found.until - found.since) / step_ms).toBeLessThanOrEqual(181);
  });

  test("chooses hours for an hour of which no minutes are kept", () => {
    expect(range({ since: ago(60 * HOUR), until: ago(59 * HOUR) })).toMatchObject({
      step_ms: HOUR,
      resolution: "hour",
    });
  });

  test.each<[string, number, "minute" | "hour"]>([
    ["minute", MINUTE, "minute"],
    ["1m", MINUTE, "minute"],
    ["60s", MINUTE, "minute"],
    ["5m", 5 * MINUTE, "minute"],
    ["90m", 90 * MINUTE, "minute"],
    ["hour", HOUR, "hour"],
    ["60m", HOUR, "hour"],
    ["1d", 24 * HOUR, "hour"],
  ])("takes the step %s", (step, step_ms, resolution) => {
    const found = parseStatsRange({ since: ago(24 * HOUR), step }, NOW);
    expect(found).toMatchObject({ step_ms, resolution });
    for (const time of [found.since, found.until]) expect(time % step_ms).toBe(0);
    expect(found.since).toBeLessThanOrEqual(NOW - 24 * HOUR);
    expect(found.until).toBeGreaterThan(NOW);
  });

  test.each<[RawStatsQuery, string]>([
    [
      { step: "0m" },
      'Invalid "step" "0m": give "minute", "hour", or whole minutes up to 90 days, such as 5m, 1h or 1d',
    ],
    [{ step: "90s" }, 'Invalid "step" "90s"'],
    [{ step: "91d" }, 'Invalid "step" "91d"'],
    [{ step: "1w" }, 'Invalid "step" "1w"'],
    [{ step: "" }, 'Invalid "step" ""'],
    [{ step: "-5m" }, 'Invalid "step" "-5m"'],
    [{ since: "yesterday" }, 'Invalid "since" "yesterday"'],
    [{ until: "2026-01-31T12:00:00" }, "it does not say how far it is from UTC"],
    [{ since: ago(0) }, "is not before"],
    [{ since: ago(-HOUR) }, "is not before"],
    [{ since: ago(HOUR), until: ago(2 * HOUR) }, "is not before"],
    [
      { since: ago(91 * 24 * HOUR), step: "1d" },
      "figures are kept for 90 days: give 2025-11-02T12:34:56.789Z or later",
    ],
    [
      { since: ago(49 * HOUR), step: "5m" },
      'figures of minutes are kept for 48 hours: take a "step" of whole hours such as 1h, or give 2026-01-29T12:34:56.789Z or later',
    ],
    [
      { since: ago(48 * HOUR), step: "1m" },
      'These are 2881 points, and at most 1500 are given: take a "step" of 2m, or a shorter range',
    ],
    [
      { since: ago(HOUR), until: "9999-12-31T00:00:00Z", step: "1d" },
      "and at most 1500 are given: take a shorter range",
    ],
  ])("refuses %j", (query, problem) => {
    let thrown: unknown;
    try {
      parseStatsRange(query, NOW);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(AppError);
    expect(thrown).toMatchObject({ reason: "invalid_request", message: expect.stringContaining(problem) });
  });

  test("the remedy in its message works", () => {
    expect(parseStatsRange({ since: ago(48 * HOUR), step: "2m" }, NOW).step_ms).toBe(2 * MINUTE);
    // Its client has read the clock a little earlier.
    expect(parseStatsRange({ since: ago(48 * HOUR + 1000), step: "5m" }, NOW).resolution).toBe("minute");
  });
});
