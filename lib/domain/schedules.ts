import { Type, type Static } from "@sinclair/typebox";
import { AppError, messageOf } from "./errors.ts";
import { CRON_LENGTH, TIMEZONE_LENGTH } from "./limits.ts";
import { quoted } from "./quoted.ts";
import { isAhead } from "./time/set-back.ts";
import { type Timetable, timetableOf } from "./time/timetable.ts";
import { Enum, Flag, Nullable, Timestamp } from "./types.ts";

/** A schedule: when it runs a function, and with what request. */
export const Schedule = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["f3b9b3c5-2a3e-4d0e-8e2f-5a2d9a3c7c4e"] }),
  function_id: Type.String({
    description: "The id of the function; its name is accepted too.",
    examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
  }),
  cron: Type.String({
    minLength: 1,
    maxLength: CRON_LENGTH,
    description:
      "Minute, hour, day of the month, month, day of the week; with six fields, seconds come first. Or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
    examples: ["30 2 * * *"],
  }),
  timezone: Type.String({
    minLength: 1,
    maxLength: TIMEZONE_LENGTH,
    description:
      "An IANA time zone. When its clocks change, an expression that names hours runs at each of its times once: what is skipped runs at the change, what comes twice runs the first time. One for every hour keeps its interval.",
    examples: ["Europe/Berlin"],
  }),
  body: Type.Unknown({ description: "The request body: any JSON.", examples: [{ report: "daily" }] }),
  overlap: Enum(["skip", "queue"], {
    description: "What a new run does while the last one has not ended: `skip` drops it, `queue` makes it wait.",
    examples: ["skip"],
  }),
  catch_up: Enum(["none", "one"], {
    description:
      "What follows from runs that were missed by more than a minute: nothing, or one run for all of them. Runs that are less late always take place.",
    examples: ["none"],
  }),
  paused: Flag("No runs take place, and missed ones are not made up for."),
  last_due: Type.Integer({
    description: "The time up to which all runs are done, in milliseconds since the epoch.",
    examples: [1_769_860_800_000],
  }),
  last_invocation_id: Nullable(Type.String({ description: "The last invocation that the schedule started." })),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Schedule = Static<typeof Schedule>;

/** A schedule as the API shows it: with its next five times. */
export const ScheduleWithTimes = Type.Object({
  ...Type.Omit(Schedule, ["last_due"]).properties,
  next: Type.Array(Timestamp, { description: "The next five times; empty while paused." }),
});
export type ScheduleWithTimes = Static<typeof ScheduleWithTimes>;

const OPTIONS = ["body", "timezone", "overlap", "catch_up", "paused"] as const;

/** The body of `POST /v1/schedules`. */
export const CreateSchedule = Type.Object(
  {
    function_id: Schedule.properties.function_id,
    cron: Schedule.properties.cron,
    ...Type.Partial(Type.Pick(Schedule, [...OPTIONS])).properties,
  },
  { additionalProperties: false },
);
export type CreateSchedule = Static<typeof CreateSchedule>;

/** The body of `PATCH /v1/schedules/:id`: absent fields stay as they are. */
export const UpdateSchedule = Type.Partial(CreateSchedule, { additionalProperties: false });
export type UpdateSchedule = Static<typeof UpdateSchedule>;

/** The defaults of a schedule. */
export const SCHEDULE_DEFAULTS = {
  timezone: "UTC",
  body: {},
  overlap: "skip",
  catch_up: "none",
  paused: false,
} as const satisfies Partial<Schedule>;

/** Runs that are less late than this take place whatever `catch_up` says: a restart takes seconds. */
export const LATE_MS = 60_000;
/** The most late runs; a schedule for every second has 60 in `LATE_MS`. */
const LATE_RUNS = 100;
const MINUTE_MS = 60_000;
/** The number of future times that the API shows. */
const NEXT_TIMES = 5;

/**
 * Throws `invalid_request` for an invalid expression, one that is too long or matches no time, an unknown time zone, and runs that
 * follow each other within less than `floorMs`.
 */
export function checkSchedule(
  { cron, timezone }: Pick<Schedule, "cron" | "timezone">,
  now: number,
  floorMs: number,
): void {
  checkLength("cron", cron, CRON_LENGTH);
  checkLength("timezone", timezone, TIMEZONE_LENGTH);
  if (!knownTimezone(timezone)) {
    throw new AppError(
      "invalid_request",
      `Invalid "timezone" ${quoted(timezone)}: give an IANA name such as "Europe/Berlin", or "UTC"`,
    );
  }
  if (nextAfter({ cron, timezone }, now) === undefined) {
    throw new AppError("invalid_request", `Invalid "cron" ${quoted(cron, CRON_LENGTH)}: no time matches it`);
  }
  const interval = shortestInterval({ cron, timezone }, now, floorMs);
  if (interval >= floorMs) return;
  throw new AppError(
    "invalid_request",
    `Invalid "cron" ${quoted(cron, CRON_LENGTH)}: it has runs ${interval / 1_000} s apart, and the server allows one in ` +
      `${floorMs / 1_000} s (MIN_SCHEDULE_INTERVAL_MS): give longer intervals`,
  );
}

/** Not every timetable has come through the schema: an annotation of another platform's deployment is any text. */
function checkLength(field: "cron" | "timezone", text: string, most: number): void {
  if (text.length <= most) return;
  throw new AppError(
    "invalid_request",
    `Invalid "${field}" ${quoted(text)}: it has ${text.length} characters, give at most ${most}`,
  );
}

/** Returns the shortest time between the next runs, or the first that is below the floor; in milliseconds. */
function shortestInterval(when: Pick<Schedule, "cron" | "timezone">, now: number, floorMs: number): number {
  // Without seconds, runs are a minute apart at least.
  if (floorMs <= MINUTE_MS && when.cron.trim().split(/\s+/).length < 6) return Infinity;
  const first = nextAfter(when, now);
  // Every minute that matches has the same seconds, and every hour the same minutes. So there are few runs to compare:
  // they end with the first two that are too close.
  const until = (first ?? 0) + 2 * (floorMs <= MINUTE_MS ? MINUTE_MS : 60 * MINUTE_MS);
  let shortest = Infinity;
  for (let last = first; last !== undefined && last < until && shortest >= floorMs;) {
    const next = nextAfter(when, last);
    if (next !== undefined) shortest = Math.min(shortest, next - last);
    last = next;
  }
  return shortest;
}

function knownTimezone(timezone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: timezone }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

/** Returns the first time after `after`, in milliseconds since the epoch, or undefined. Throws `invalid_request`. */
export function nextAfter({ cron, timezone }: Pick<Schedule, "cron" | "timezone">, after: number): number | undefined {
  return readTimetable(cron, timezone).after(after);
}

/** Returns the next five times after `after`; none while the schedule is paused. */
export function nextTimes({ cron, timezone, paused }: Schedule, after: number): number[] {
  if (paused) return [];
  const timetable = readTimetable(cron, timezone);
  const times: number[] = [];
  let time = timetable.after(after);
  while (time !== undefined && times.push(time) < NEXT_TIMES) time = timetable.after(time);
  return times;
}

/**
 * Returns the first time after the last run that is at least `floorMs` after it: a schedule that is older than the floor,
 * and more frequent, leaves out the runs in between.
 */
export function nextRun(
  schedule: Pick<Schedule, "cron" | "timezone" | "last_due">,
  floorMs: number,
): number | undefined {
  return nextSpaced(schedule, schedule.last_due, floorMs);
}

function nextSpaced(when: Pick<Schedule, "cron" | "timezone">, last: number, floorMs: number): number | undefined {
  const next = nextAfter(when, last);
  // Only a run has a distance: a schedule may have been created, or changed, at any time before its first one.
  const isTooSoon = next !== undefined && next - last < floorMs && nextAfter(when, last - 1) === last;
  return isTooSoon ? nextAfter(when, last + floorMs - 1) : next;
}

/** The runs that are due, oldest first, and the time up to which nothing else is due. */
export interface Due {
  readonly runs: readonly number[];
  readonly last_due: number;
}

/** Returns the time up to which all runs are done. A mark of a clock that was ahead is taken back to now. */
export function doneBy({ last_due }: Pick<Schedule, "last_due">, now: number): number {
  return isAhead(last_due, now) ? now : last_due;
}

/** Finds the runs that are due by `now`, after those that were done by `last_due`; `floorMs` as for `nextRun`. */
export function dueBy(
  schedule: Pick<Schedule, "cron" | "timezone" | "catch_up" | "last_due">,
  now: number,
  floorMs: number,
): Due {
  const { catch_up } = schedule;
  const last_due = doneBy(schedule, now);
  const first = nextRun({ ...schedule, last_due }, floorMs);
  if (first === undefined || first > now) return { runs: [], last_due };
  const recent: number[] = [];
  // From just before the last minute: `nextAfter` returns only later times.
  let time = last_due > now - LATE_MS ? first : nextAfter(schedule, now - LATE_MS);
  while (time !== undefined && time <= now && recent.length < LATE_RUNS) {
    recent.push(time);
    time = nextSpaced(schedule, time, floorMs);
  }
  const missed = first <= now - LATE_MS;
  if (!missed || catch_up === "none") return { runs: recent, last_due: recent.at(-1) ?? now };
  // One run stands for all that were missed; a recent one also serves.
  return { runs: recent.length > 0 ? recent : [first], last_due: recent.at(-1) ?? now };
}

function readTimetable(cron: string, timezone: string): Timetable {
  try {
    return timetableOf(cron, timezone);
  } catch (error) {
    const said = messageOf(error)
      .replace(/^CronPattern: /, "")
      .replace(/\.+$/, "");
    const fields = cron.trim().split(/\s+/).length;
    // The library would also take seconds and years.
    const why = said.includes("exactly five") ? `it has ${fields} field${fields === 1 ? "" : "s"}` : said;
    throw new AppError(
      "invalid_request",
      `Invalid "cron" ${quoted(cron, CRON_LENGTH)}: ${why}. Give five fields such as "30 2 * * *": minute, hour, day, month, day of the week.`,
      { cause: error },
    );
  }
}
