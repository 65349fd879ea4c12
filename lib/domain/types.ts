import { type SchemaOptions, Type, type TBoolean, type TNull, type TSchema, type TUnion } from "@sinclair/typebox";
import { AppError } from "./errors.ts";
import { quoted } from "./quoted.ts";

/** The schema of a value that may be null. */
export function Nullable<T extends TSchema>(schema: T): TUnion<[T, TNull]> {
  return Type.Union([schema, Type.Null()]);
}

/** The schema of one of a closed list of strings. */
export function Enum<const V extends string>(values: readonly V[], options: SchemaOptions = {}) {
  return Type.Unsafe<V>(
    Type.Union(
      values.map((value) => Type.Literal(value)),
      options,
    ),
  );
}

/** The schema of a field that is true or false, usually false. */
export function Flag(description: string): TBoolean {
  return Type.Boolean({ description, examples: [false] });
}

/** A time as RFC 3339 in UTC with milliseconds, so that text order is time order. */
export const Timestamp = Type.String({
  description: "RFC 3339 in UTC, with milliseconds.",
  examples: ["2026-01-31T12:00:00.000Z"],
});

/** Formats milliseconds since the epoch as a `Timestamp`. */
export function timestamp(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** A moment as RFC 3339 has it; the seconds may be left out. A plus that a query does not encode arrives as a space. */
const MOMENT = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?:Z|([+\- ])(\d\d):?(\d\d))$/i;
const DAY = /^\d{4}-\d\d-\d\d$/;

/**
 * Parses a moment into milliseconds since the epoch; undefined for anything else, also for a time without an offset from
 * UTC: that would be another moment on each machine.
 */
export function parseMoment(text: string): number | undefined {
  const [, day, clock, sign = "+", hours = "00", minutes = "00"] = MOMENT.exec(text) ?? [];
  // Parsers turn 30 February into 2 March.
  if (day === undefined || !isDay(day)) return undefined;
  const time = Date.parse(`${day}T${clock}${sign === "-" ? "-" : "+"}${hours}:${minutes}`);
  return Number.isNaN(time) ? undefined : time;
}

function isDay(text: string): boolean {
  const midnight = DAY.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  return !Number.isNaN(midnight) && timestamp(midnight).startsWith(text);
}

/** Converts a moment, or a day (which begins at midnight in UTC), to a `Timestamp`. Throws `invalid_request`. */
export function readTime(name: string, text: string): string {
  const time = parseMoment(isDay(text) ? `${text}T00:00:00Z` : text);
  if (time !== undefined) return timestamp(time);
  throw new AppError(
    "invalid_request",
    `Invalid "${name}" ${quoted(text)}: ${offsetProblem(text)}give a time such as 2026-01-31T12:00:00Z`,
  );
}

/** Returns the part of a message that says that only the offset from UTC is missing, if that is so. */
export function offsetProblem(text: string): string {
  return parseMoment(`${text}Z`) === undefined ? "" : "it does not say how far it is from UTC; ";
}
