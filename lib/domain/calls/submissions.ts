import { AppError } from "../errors.ts";
import type { Invocation } from "./invocations.ts";
import { DELAY_MS, IDEMPOTENCY, PRIORITY, WAIT_MS } from "../limits.ts";
import { offsetProblem, parseMoment } from "../types.ts";

/** The query of an asynchronous call. */
export interface RawSubmissionQuery {
  readonly async?: string;
  readonly delay_ms?: string;
  readonly run_at?: string;
  readonly priority?: string;
  readonly callback_url?: string;
}

/** The same query, checked. */
export interface SubmissionOptions {
  /** The earliest time of the call, in milliseconds since the epoch. */
  readonly due: number;
  /** When a wait for some time began, also in milliseconds since the epoch; null if a moment was named. */
  readonly waits_since: number | null;
  readonly priority: number;
  readonly callback_url: string | null;
}

/** Checks the query of an asynchronous call. Throws `invalid_request`. */
export function parseSubmission(
  { delay_ms, run_at, priority, callback_url }: RawSubmissionQuery,
  now: number,
): SubmissionOptions {
  if (delay_ms !== undefined && run_at !== undefined) {
    throw new AppError("invalid_request", 'Both "delay_ms" and "run_at" were given: leave one of them out');
  }
  const due =
    run_at === undefined ? now + readNumber("delay_ms", delay_ms ?? "0", 0, DELAY_MS) : readMoment(run_at, now);
  return {
    due,
    waits_since: run_at === undefined && due > now ? now : null,
    priority: readNumber("priority", priority ?? "0", PRIORITY.min, PRIORITY.max),
    callback_url: callback_url ?? null,
  };
}

/** Returns the `Idempotency-Key` of a request, if it has one. Throws `invalid_request`. */
export function parseIdempotencyKey(header: string | null): string | undefined {
  if (header === null) return undefined;
  // A quoted string by the draft of the header; nearly everyone sends it unquoted.
  const key = /^"(.*)"$/.exec(header)?.[1] ?? header;
  if (key.length >= 1 && key.length <= IDEMPOTENCY.key_length) return key;
  throw new AppError(
    "invalid_request",
    `The Idempotency-Key has ${key.length} characters: give 1 to ${IDEMPOTENCY.key_length}`,
  );
}

/**
 * Returns the caller that an `Idempotency-Key` belongs to: the one with this API key, all callers of a public route together,
 * or, as an empty text, those that need no key for `/v1`.
 */
export function idempotencyOwner({ key_id, route_id }: Pick<Invocation, "key_id" | "route_id">): string {
  if (key_id !== null) return `key ${key_id}`;
  return route_id === null ? "" : `route ${route_id}`;
}

/** Parses how long to wait, such as `30s` or `1500ms`, into milliseconds. Throws `invalid_request`. */
export function parseWait(text: string): number {
  const [, digits, unit] = /^(\d{1,6})(ms|s)?$/.exec(text) ?? [];
  const ms = digits === undefined ? Number.NaN : Number(digits) * (unit === "ms" ? 1 : 1000);
  if (ms <= WAIT_MS) return ms;
  const shown = JSON.stringify(text.slice(0, 40));
  throw new AppError(
    "invalid_request",
    `Invalid "wait" ${shown}: give a time such as "30s", at most "${WAIT_MS / 1000}s"`,
  );
}

/** Returns whether a client prefers not to wait for the end (RFC 7240). */
export function prefersAsync(prefer: string): boolean {
  return prefer.split(",").some((preference) => /^\s*respond-async\s*(;|$)/i.test(preference));
}

function readNumber(name: string, text: string, min: number, max: number): number {
  const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const shown = JSON.stringify(text.slice(0, 40));
  throw new AppError("invalid_request", `Invalid "${name}" ${shown}: give a whole number from ${min} to ${max}`);
}

function readMoment(text: string, now: number): number {
  const time = parseMoment(text);
  if (time !== undefined && time <= now + DELAY_MS) return time;
  const shown = JSON.stringify(text.slice(0, 40));
  throw new AppError(
    "invalid_request",
    `Invalid "run_at" ${shown}: ${offsetProblem(text)}give a time within a year, such as 2026-01-31T12:00:00Z`,
  );
}
