import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  checkSchedule,
  dueBy,
  nextAfter,
  nextTimes,
  SCHEDULE_DEFAULTS,
  type Schedule,
} from "../../lib/domain/schedules.ts";

/** The default of MIN_SCHEDULE_INTERVAL_MS. */
const FLOOR_MS = 10_000;

const at = (time: string) => Date.parse(time);
const show = (times: readonly number[]) => times.map((time) => new Date(time).toISOString().slice(0, 16));

describe("nextTimes", () => {
  const times = (cron: string, timezone: string, after: string) =>
    show(nextTimes({ ...SCHEDULE_DEFAULTS, cron, timezone } as Schedule, at(after))); // only these fields count

  test("a time that is skipped by the change to summer time runs at the change", () => {
    expect(times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z").slice(0, 3)).toEqual([
      "2026-03-28T01:30",
      "2026-03-29T01:00",
      "2026-03-30T00:30",
    ]);
  });

  test("a time that comes twice at the end of summer time runs once", () => {
    expect(times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z").slice(0, 2)).toEqual([
      "2026-10-25T00:30",
      "2026-10-26T01:30",
    ]);
  });

  // EDGE.md E3. domain/time/timetable.test.ts has every zone and form.
  test.each([
    ["*/15 2 * * *", "2026-03-29T00:00:00Z", ["2026-03-29T01:00", "2026-03-30T00:00"]],
    ["0,30 2 * * *", "2026-03-29T00:00:00Z", ["2026-03-29T01:00", "2026-03-30T00:00"]],
    ["0 2,3 * * *", "2026-10-24T12:00:00Z", ["2026-10-25T00:00", "2026-10-25T02:00", "2026-10-26T01:00"]],
    ["30 2 * * *", "2026-10-25T01:10:00Z", ["2026-10-26T01:30", "2026-10-27T01:30"]], // asked in the doubled hour
    ["*/30 2 * * *", "2026-10-24T12:00:00Z", ["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-26T01:00"]],
  ])("%s, with a fixed hour, runs once for what is skipped or doubled", (cron, after, expected) => {
    expect(times(cron, "Europe/Berlin", after).slice(0, expected.length)).toEqual(expected);
  });

  test("every half hour stays every half hour when the clocks change", () => {
    for (const change of ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"]) {
      const found = nextTimes(
        { ...SCHEDULE_DEFAULTS, cron: "*/30 * * * *", timezone: "Europe/Berlin" } as Schedule, // as above
        at(change),
      );
      expect(found.map((time, i) => time - (found[i - 1] ?? at(change)))).toEqual(Array(5).fill(1_800_000));
    }
  });

  test("is empty while paused", () => {
    expect(nextTimes({ ...SCHEDULE_DEFAULTS, cron: "* * * * *", paused: true } as Schedule, 0)).toEqual([]);
  });
});

describe("checkSchedule", () => {
  const problem =
    (cron: string, timezone = "UTC") =>
    () =>
      checkSchedule({ cron, timezone }, at("2026-01-31T12:00:00Z"), FLOOR_MS);

  test.each(["* * * * *", "*/10 * * * * *", "59 * * * * *", "@daily", "0 9 * * MON-FRI", "0 0 29 2 *"])(
    "accepts %j",
    (cron) => {
      expect(problem(cron)).not.toThrow();
    },
  );

  test.each([
    ["* * *", 'Invalid "cron" "* * *"'],
    ["61 * * * *", "Invalid value for minute: 61"],
    ["never", 'Invalid "cron" "never"'],
    ["0 0 31 2 *", "no time matches it"],
    ["0 0 1 1 * 2020", "exactly five"],
    [`${"0,".repeat(124)}0 * * * *`, 'Invalid "cron" "0,0,'],
    [`${"0,".repeat(124)}0 * * * *`, "it has 257 characters, give at most 256"],
  ])("refuses %j", (cron, message) => {
    expect(problem(cron)).toThrow(message === "exactly five" ? "Invalid" : message);
  });

  test.each([
    ["* * * * * *", 1],
    ["*/5 * * * * *", 5],
    ["0,55 * * * * *", 5],
    ["0,20,29 30 2 * * *", 9],
    ["58 0 0 1 1 *", undefined],
    ["0,59 0,1 0 1 1 *", 1],
  ])("refuses %j for runs that are closer than the floor", (cron, seconds) => {
    if (seconds === undefined) expect(problem(cron)).not.toThrow();
    else
      expect(problem(cron)).toThrow(
        `it has runs ${seconds} s apart, and the server allows one in 10 s (MIN_SCHEDULE_INTERVAL_MS)`,
      );
  });

  test("takes a floor of minutes", () => {
    const check = (cron: string) => () => checkSchedule({ cron, timezone: "UTC" }, at("2026-01-31T12:00:00Z"), 300_000);
    expect(check("*/5 * * * *")).not.toThrow();
    expect(check("0,4 * * * *")).toThrow("it has runs 240 s apart");
    expect(check("0,56 * * * *")).toThrow("it has runs 240 s apart");
  });

  test("refuses an unknown time zone, with an example", () => {
    expect(problem("* * * * *", "Mars/Olympus")).toThrow('Invalid "timezone" "Mars/Olympus": give an IANA name');
  });
});

describe("dueBy", () => {
  const hourly = { cron: "0 * * * *", timezone: "UTC", catch_up: "none" as const };
  const due = (fields: object, last: string, now: string) => {
    const { runs, last_due } = dueBy({ ...hourly, ...fields, last_due: at(last) }, at(now), FLOOR_MS);
    return { runs: show(runs), last_due: show([last_due])[0] };
  };

  test("no run before the time, one at it, and none after it", () => {
    expect(due({}, "2026-01-31T12:00:00Z", "2026-01-31T12:59:59Z").runs).toEqual([]);
    expect(due({}, "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z")).toEqual({
      runs: ["2026-01-31T13:00"],
      last_due: "2026-01-31T13:00",
    });
    expect(due({}, "2026-01-31T13:00:00Z", "2026-01-31T13:00:00Z").runs).toEqual([]);
  });

  test("a run that is less than a minute late takes place", () => {
    expect(due({}, "2026-01-31T12:00:00Z", "2026-01-31T13:00:59Z").runs).toEqual(["2026-01-31T13:00"]);
  });

  test("missed runs are dropped, or replaced by one", () => {
    expect(due({}, "2026-01-31T12:00:00Z", "2026-01-31T15:30:00Z").runs).toEqual([]);
    expect(due({ catch_up: "one" }, "2026-01-31T12:00:00Z", "2026-01-31T15:30:00Z").runs).toHaveLength(1);
    expect(due({ catch_up: "one" }, "2026-01-31T12:00:00Z", "2026-01-31T15:00:30Z").runs).toEqual(["2026-01-31T15:00"]);
  });

  test("an older schedule that is more frequent than the floor leaves out the runs in between", () => {
    const everySecond = { cron: "* * * * * *", timezone: "UTC", catch_up: "none" as const };
    let last_due = at("2026-01-31T12:00:00.500Z");
    const runs: number[] = [];
    for (let now = last_due; now < at("2026-01-31T12:00:45Z"); now += 700) {
      const found = dueBy({ ...everySecond, last_due }, now, FLOOR_MS);
      runs.push(...found.runs);
      ({ last_due } = found);
    }
    expect(runs.map((time) => (time - at("2026-01-31T12:00:00Z")) / 1_000)).toEqual([1, 11, 21, 31, 41]);
    const late = dueBy({ ...everySecond, last_due: at("2026-01-31T11:00:00Z") }, at("2026-01-31T12:00:00Z"), FLOOR_MS);
    expect(late.runs).toHaveLength(6);
  });

  // EDGE.md E2.
  test("a mark of a clock that was ahead is taken back to now, and what comes then runs", () => {
    const marked = due({}, "2027-01-31T12:00:00Z", "2026-01-31T12:10:00Z");
    expect(marked).toEqual({ runs: [], last_due: "2026-01-31T12:10" });
    expect(due({}, "2026-01-31T12:10:00Z", "2026-01-31T13:00:00Z").runs).toEqual(["2026-01-31T13:00"]);
    expect(due({ catch_up: "one" }, "2027-01-31T12:00:00Z", "2026-01-31T13:00:00Z").runs).toEqual([]);
  });

  // EDGE.md E2.
  test("a clock that is corrected by seconds does not run a time twice", () => {
    expect(due({}, "2026-01-31T13:00:00Z", "2026-01-31T12:59:50Z")).toEqual({ runs: [], last_due: "2026-01-31T13:00" });
  });

  test("every time runs exactly once, however often the clock is read", () => {
    const start = at("2026-10-24T20:00:00Z");
    const steps = fc.array(fc.integer({ min: 0, max: 59_000 }), { minLength: 1, maxLength: 200 });
    const crons = fc.constantFrom("* * * * *", "*/7 * * * *", "15,45 2 * * *", "*/20 * * * * *");
    fc.assert(
      fc.property(steps, crons, (passing, cron) => {
        const schedule = { cron, timezone: "Europe/Berlin", catch_up: "none" as const };
        const runs: number[] = [];
        let [now, last_due] = [start, start];
        for (const ms of passing) {
          now += ms;
          const found = dueBy({ ...schedule, last_due }, now, FLOOR_MS);
          runs.push(...found.runs);
          expect(found.last_due).toBeGreaterThanOrEqual(last_due);
          last_due = found.last_due;
        }
        const expected: number[] = [];
        for (let next = nextAfter(schedule, start); next !== undefined && next <= now; next = nextAfter(schedule, next))
          expected.push(next);
        expect(runs).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });
});
