import { Type, type Static } from "@sinclair/typebox";
import { Cron } from "croner";
import { AppError, messageOf } from "./errors.ts";
import { CRON_LENGTH } from "./limits.ts";
import { Nullable, Timestamp } from "./types.ts";

/** When a schedule runs its function, and with what. */
export const Schedule = Type.Object({
  id: Type.String({ description: "A UUID made by the server.", examples: ["f3b9b3c5-2a3e-4d0e-8e2f-5a2d9a3c7c4e"] }),
  function_id: Type.String({
    description: "The id of the function; its name is taken as well.",
    examples: ["0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11"],
  }),
  cron: Type.String({
    minLength: 1,
    maxLength: CRON_LENGTH,
    description:
      "Minute, hour, day of the month, month, day of the week; with six fields, seconds come first. Also `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
    examples: ["30 2 * * *"],
  }),
  timezone: Type.String({
    minLength: 1,
    maxLength: 64,
    description:
      "An IANA time zone. Where the clocks go forward, a time that is skipped runs at the moment of the change; where they go back, one that comes twice runs once.",
    examples: ["Europe/Berlin"],
  }),
  body: Type.Unknown({ description: "The request body, any JSON.", examples: [{ report: "daily" }] }),
  overlap: Type.Unsafe<"skip" | "queue">(
    Type.Union([Type.Literal("skip"), Type.Literal("queue")], {
      description: "What happens while the last run has not ended: the new one is left out, or waits.",
      examples: ["skip"],
    }),
  ),
  catch_up: Type.Unsafe<"none" | "one">(
    Type.Union([Type.Literal("none"), Type.Literal("one")], {
      description:
        "What happens to runs that were missed by more than a minute: nothing, or one run for all of them. Those that are late by less are run.",
      examples: ["none"],
    }),
  ),
  paused: Type.Boolean({ description: "Nothing is run, and nothing is made up for afterwards.", examples: [false] }),
  last_due: Type.Integer({
    description: "Up to when all is done, in milliseconds since the epoch.",
    examples: [1_769_860_800_000],
  }),
  last_invocation_id: Nullable(Type.String({ description: "The invocation that it caused last." })),
  created_at: Timestamp,
  updated_at: Timestamp,
});
export type Schedule = Static<typeof Schedule>;

/** A schedule as it is shown: with the next five times. */
export const ScheduleWithTimes = Type.Composite([
  Type.Omit(Schedule, ["last_due"]),
  Type.Object({
    next: Type.Array(Timestamp, { description: "The next five times; none while it is paused." }),
  }),
]);
export type ScheduleWithTimes = Static<typeof ScheduleWithTimes>;

const OPTIONS = ["body", "timezone", "overlap", "catch_up", "paused"] as const;

/** The body of `POST /v1/schedules`. */
export const CreateSchedule = Type.Composite(
  [Type.Pick(Schedule, ["function_id", "cron"]), Type.Partial(Type.Pick(Schedule, [...OPTIONS]))],
  { additionalProperties: false },
);
export type CreateSchedule = Static<typeof CreateSchedule>;

/** The body of `PATCH /v1/schedules/:id`: what is absent stays as it is. */
export const UpdateSchedule = Type.Partial(CreateSchedule, { additionalProperties: false });
export type UpdateSchedule = Static<typeof UpdateSchedule>;

/** What every schedule has unless it was given. */
export const SCHEDULE_DEFAULTS = {
  timezone: "UTC",
  body: {},
  overlap: "skip",
  catch_up: "none",
  paused: false,
} as const satisfies Partial<Schedule>;

/** Runs that are late by less are run, whatever `catch_up` says: a restart takes seconds. */
export const LATE_MS = 60_000;
/** As many late runs are looked at; a schedule of every second has 60 in `LATE_MS`. */
const LATE_RUNS = 100;
/** As many times are shown. */
const SHOWN = 5;

/** Throws `invalid_request` for an expression that means nothing, or never comes, and for an unknown time zone. */
export function checkSchedule({ cron, timezone }: Pick<Schedule, "cron" | "timezone">, now: number): void {
  if (!knownTimezone(timezone)) {
    throw new AppError(
      "invalid_request",
      `Invalid "timezone" ${JSON.stringify(timezone)}: give an IANA name such as "Europe/Berlin", or "UTC"`,
    );
  }
  if (nextAfter({ cron, timezone }, now) === undefined) {
    throw new AppError("invalid_request", `Invalid "cron" ${JSON.stringify(cron)}: no time matches it`);
  }
}

function knownTimezone(timezone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: timezone }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

/** The first time after a moment, in milliseconds since the epoch; nothing where none comes. Throws `invalid_request`. */
export function nextAfter({ cron, timezone }: Pick<Schedule, "cron" | "timezone">, after: number): number | undefined {
  return parse(cron, timezone).nextRun(new Date(after))?.getTime();
}

/** The next five times after a moment, none while it is paused. */
export function nextTimes({ cron, timezone, paused }: Schedule, after: number): number[] {
  if (paused) return [];
  return parse(cron, timezone)
    .nextRuns(SHOWN, new Date(after))
    .map((time) => time.getTime());
}

/** What a schedule has to do at a moment: the times to run for, oldest first, and up to when all is done then. */
export interface Due {
  readonly runs: readonly number[];
  readonly last_due: number;
}

/** Finds what is due by `now` after all that was done up to `last_due`. */
export function dueBy(schedule: Pick<Schedule, "cron" | "timezone" | "catch_up" | "last_due">, now: number): Due {
  const { catch_up, last_due } = schedule;
  const first = nextAfter(schedule, last_due);
  if (first === undefined || first > now) return { runs: [], last_due };
  const recent: number[] = [];
  // From just before the last minute on: `nextAfter` gives what is later than that.
  let time = nextAfter(schedule, Math.max(last_due, now - LATE_MS));
  while (time !== undefined && time <= now && recent.length < LATE_RUNS) {
    recent.push(time);
    time = nextAfter(schedule, time);
  }
  const missed = first <= now - LATE_MS;
  if (!missed || catch_up === "none") return { runs: recent, last_due: recent.at(-1) ?? now };
  // One run stands for all that were missed; a recent one does as well.
  return { runs: recent.length > 0 ? recent : [first], last_due: recent.at(-1) ?? now };
}

function parse(cron: string, timezone: string): Cron {
  try {
    return new Cron(cron, { timezone, paused: true });
  } catch (error) {
    const why = messageOf(error).replace(/^CronPattern: /, "");
    throw new AppError(
      "invalid_request",
      `Invalid "cron" ${JSON.stringify(cron)}: ${why}. Give five fields such as "30 2 * * *": minute, hour, day, month, day of the week.`,
      { cause: error },
    );
  }
}
