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

/** Converts a time in any zone to a `Timestamp`. Throws `invalid_request`. */
export function readTime(name: string, text: string): string {
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return timestamp(time);
  throw new AppError("invalid_request", `Invalid "${name}" ${quoted(text)}: give a time such as 2026-01-31T12:00:00Z`);
}
