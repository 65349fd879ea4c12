import { AppError } from "../errors.ts";
import { STATS } from "../limits.ts";
import { quoted } from "../quoted.ts";
import { readTime, timestamp } from "../types.ts";

/** The sizes of the pieces of time for which figures are kept. */
export const RESOLUTIONS = { minute: 60_000, hour: 3_600_000 } as const;
export type Resolution = keyof typeof RESOLUTIONS;

/** The query of `GET /v1/stats` as it was sent. */
export interface RawStatsQuery {
  readonly function_id?: string;
  readonly since?: string;
  readonly until?: string;
  readonly step?: string;
}

/** A range of time, in whole steps; milliseconds since the epoch, in UTC. */
export interface StatsRange {
  readonly since: number;
  /** Not part of it. */
  readonly until: number;
  readonly step_ms: number;
  readonly resolution: Resolution;
}

const { minute: MINUTE, hour: HOUR } = RESOLUTIONS;
const UNITS: Readonly<Record<string, number>> = { m: MINUTE, h: HOUR, d: 24 * HOUR };
/** The steps of which the first is taken that makes no more than `STATS.points_by_default`. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440].map((minutes) => minutes * MINUTE);

/** Reads the times of a query, which are rounded outwards to whole steps. Throws `invalid_request`. */
export function parseStatsRange(raw: RawStatsQuery, now: number): StatsRange {
  const asked = raw.step === undefined ? undefined : parseStep(raw.step);
  const until = raw.until === undefined ? now : Date.parse(readTime("until", raw.until));
  const since = raw.since === undefined ? until - HOUR : Date.parse(readTime("since", raw.since));
  if (since >= until) {
    const shown = `"since" ${timestamp(since)} is not before "until" ${timestamp(until)}`;
    throw new AppError("invalid_request", `${shown}: swap them, or leave "until" out, which is now then`);
  }
  const oldest = { minute: now - STATS.minutes_ms, hour: now - STATS.hours_ms };
  // A client that asks for just the time that is kept has computed it a moment ago.
  const hasHours = since >= oldest.hour - STATS.slack_ms;
  const hasMinutes = since >= oldest.minute - STATS.slack_ms;
  if (!hasHours)
    throw tooOld(since, `figures are kept for ${days(STATS.hours_ms)} days: give ${timestamp(oldest.hour)} or later`);
  const step_ms = asked ?? stepFor(until - since, hasMinutes);
  const resolution = step_ms % HOUR === 0 ? "hour" : "minute";
  if (resolution === "minute" && !hasMinutes) {
    const why = `figures of minutes are kept for ${STATS.minutes_ms / HOUR} hours`;
    throw tooOld(
      since,
      `${why}: take a "step" of whole hours such as 1h, or give ${timestamp(oldest.minute)} or later`,
    );
  }
  const range = { since: down(since, step_ms), until: -down(-until, step_ms), step_ms, resolution } as const;
  const points = (range.until - range.since) / step_ms;
  if (points <= STATS.points) return range;
  const step = STEPS.find((each) => (until - since) / each < STATS.points - 1);
  const advice = step === undefined ? "take a shorter range" : `take a "step" of ${stepText(step)}, or a shorter range`;
  throw new AppError("invalid_request", `These are ${points} points, and at most ${STATS.points} are given: ${advice}`);
}

function tooOld(since: number, why: string): AppError {
  return new AppError("invalid_request", `Invalid "since" ${timestamp(since)}: ${why}`);
}

function parseStep(text: string): number {
  if (text === "minute") return MINUTE;
  if (text === "hour") return HOUR;
  const [, digits, unit] = /^(\d{1,6})([a-z]{1,2})$/.exec(text) ?? [];
  const ms = Number(digits) * (UNITS[unit ?? ""] ?? (unit === "s" ? 1000 : Number.NaN));
  if (ms > 0 && ms % MINUTE === 0 && ms <= STATS.hours_ms) return ms;
  throw new AppError(
    "invalid_request",
    `Invalid "step" ${quoted(text, 40)}: give "minute", "hour", or whole minutes up to ${days(STATS.hours_ms)} days, such as 5m, 1h or 1d`,
  );
}

function stepFor(ms: number, hasMinutes: boolean): number {
  const steps = hasMinutes ? STEPS : STEPS.filter((step) => step >= HOUR);
  return steps.find((step) => ms / step <= STATS.points_by_default) ?? 24 * HOUR;
}

function stepText(ms: number): string {
  return ms % HOUR === 0 ? `${ms / HOUR}h` : `${ms / MINUTE}m`;
}

function days(ms: number): number {
  return ms / (24 * HOUR);
}

/** Rounds a time down to a multiple of a step. */
export function down(time: number, step: number): number {
  return Math.floor(time / step) * step;
}
