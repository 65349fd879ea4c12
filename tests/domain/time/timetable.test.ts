import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Timetable } from "../../../lib/domain/time/timetable.ts";
import { changes, type Expression, expressions, timesIn, type Window, windowAt } from "./wall-clock-oracle.ts";

const at = (time: string) => Date.parse(time);
const HOUR = 3_600_000;

/** The times of an expression in a span, in UTC to the minute. */
function times(cron: string, zone: string, from: string, until: string): string[] {
  return between(cron, zone, at(from) - 1, at(until)).map((time) => new Date(time).toISOString().slice(5, 16));
}

function between(cron: string, zone: string, after: number, until: number): number[] {
  const timetable = new Timetable(cron, zone);
  const found: number[] = [];
  for (let time = timetable.after(after); time !== undefined && time < until; time = timetable.after(time))
    found.push(time);
  return found;
}

// EDGE.md E3.
describe("an expression that names hours", () => {
  const spring = (cron: string) => times(cron, "Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29T22:00Z");
  const autumn = (cron: string) => times(cron, "Europe/Berlin", "2026-10-24T22:00Z", "2026-10-25T23:00Z");

  test.each(["*/15 2 * * *", "0,30 2 * * *", "30 2 * * *", "* 2 * * *", "10-20 2 * * *", "*/20 */5 2 * * *"])(
    "%s runs once at the change of the spring day",
    (cron) => {
      expect(spring(cron)).toEqual(["03-29T01:00"]);
    },
  );

  test("what is skipped and what is due at the change are one run", () => {
    expect(spring("0 2,3 * * *")).toEqual(["03-29T01:00"]);
    expect(spring("0 1-4 * * *")).toEqual(["03-29T00:00", "03-29T01:00", "03-29T02:00"]);
  });

  test("times that come twice run the first time", () => {
    expect(autumn("0 2,3 * * *")).toEqual(["10-25T00:00", "10-25T02:00"]);
    expect(autumn("*/30 2 * * *")).toEqual(["10-25T00:00", "10-25T00:30"]);
    expect(autumn("30 0 2 * * *")).toEqual(["10-25T00:00"]);
  });

  test("steps of hours name hours", () => {
    expect(spring("0 */2 * * *").slice(0, 3)).toEqual(["03-28T23:00", "03-29T01:00", "03-29T02:00"]);
    expect(autumn("0 */2 * * *").slice(0, 3)).toEqual(["10-24T22:00", "10-25T00:00", "10-25T03:00"]);
  });

  test("half an hour is skipped and repeated on Lord Howe Island", () => {
    const lordHowe = (from: string, until: string) => times("15 2 * * *", "Australia/Lord_Howe", from, until);
    expect(lordHowe("2026-10-03T00:00Z", "2026-10-04T00:00Z")).toEqual(["10-03T15:30"]);
    expect(times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00Z", "2026-04-05T00:00Z")).toEqual([
      "04-04T14:45",
    ]);
  });

  test("a midnight that is skipped runs at the change, with the date that it has", () => {
    expect(times("0 0 * * *", "America/Santiago", "2026-09-05T12:00Z", "2026-09-06T12:00Z")).toEqual(["09-06T04:00"]);
    expect(times("0 0 * * SUN", "Asia/Beirut", "2026-03-28T12:00Z", "2026-03-29T12:00Z")).toEqual(["03-28T22:00"]);
    expect(times("@daily", "America/Havana", "2026-03-07T12:00Z", "2026-03-08T12:00Z")).toEqual(["03-08T05:00"]);
  });

  test("a day that is skipped runs at its change, once", () => {
    expect(times("0 9,12 * * *", "Pacific/Apia", "2011-12-29T10:00Z", "2011-12-31T10:00Z")).toEqual([
      "12-29T19:00",
      "12-29T22:00",
      "12-30T10:00",
      "12-30T19:00",
      "12-30T22:00",
    ]);
  });
});

// EDGE.md E3.
describe("an expression for every hour", () => {
  test.each(["*/15 * * * *", "*/15 */1 * * *", "*/15 0-23 * * *", "*/15 ? * * *"])("%s keeps its interval", (cron) => {
    for (const day of ["2026-03-28T23:00Z", "2026-10-24T22:00Z"]) {
      const found = between(cron, "Europe/Berlin", at(day) - 1, at(day) + 6 * HOUR);
      expect(found).toEqual(Array.from({ length: 24 }, (_, i) => at(day) + i * 15 * 60_000));
    }
  });

  test("runs when it is on the hour, also twice, and never for an hour that is skipped", () => {
    expect(times("@hourly", "Australia/Lord_Howe", "2026-10-03T14:00Z", "2026-10-03T17:00Z")).toEqual([
      "10-03T14:30",
      "10-03T16:00",
    ]);
    expect(times("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00Z", "2026-04-04T16:30Z")).toEqual([
      "04-04T14:45",
      "04-04T15:15",
      "04-04T16:15",
    ]);
  });

  test("finds a day that is years ahead", () => {
    expect(new Timetable("0 * 29 2 *", "Europe/Berlin").after(at("2097-01-01T00:00Z"))).toBe(at("2104-02-28T23:00Z"));
    expect(new Timetable("0 * 31 2 *", "Europe/Berlin").after(at("2026-01-01T00:00Z"))).toBeUndefined();
  });
});

function checkAgainstOracle(window: Window, runs: number): void {
  const until = window.from + window.shown.length * 60_000;
  const check = (expression: Expression) => {
    const found = between(expression.text, window.zone, window.from - 1, until);
    if (!Bun.deepEquals(found, timesIn(window, expression)))
      expect({ zone: window.zone, cron: expression.text, found }).toEqual({
        zone: window.zone,
        cron: expression.text,
        found: timesIn(window, expression),
      });
  };
  fc.assert(fc.property(expressions, check), { numRuns: runs });
}

// EDGE.md E3.
describe("every expression, compared with someone who reads the clock minute by minute", () => {
  test("at all changes of all zones in a year", () => {
    let windows = 0;
    for (const zone of Intl.supportedValuesOf("timeZone")) {
      for (const window of changes(zone, at("2026-01-01T00:00Z"), at("2026-12-31T00:00Z"))) {
        checkAgainstOracle(window, 3);
        windows++;
      }
    }
    // So that a lookup that finds no change is noticed: well over 100 zones change their clocks twice a year.
    expect(windows).toBeGreaterThan(200);
  });

  test.each([
    ["Pacific/Apia", "2011-12-29T00:00Z"],
    ["Pacific/Kwajalein", "1993-08-20T00:00Z"],
    ["Antarctica/Troll", "2026-03-28T12:00Z"],
    ["Asia/Pyongyang", "2018-05-04T00:00Z"],
    ["America/Caracas", "2016-04-30T12:00Z"],
    ["America/St_Johns", "2010-11-06T12:00Z"],
    ["Asia/Gaza", "2023-04-28T12:00Z"],
    ["America/Godthab", "2023-03-25T12:00Z"],
    ["UTC", "2026-03-28T12:00Z"],
  ])("in %s at %s", (zone, from) => {
    checkAgainstOracle(windowAt(zone, at(from), 72 * HOUR), 40);
  });
});
