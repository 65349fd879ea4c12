import { type SchemaOptions, Type, type TNull, type TSchema, type TUnion } from "@sinclair/typebox";
import { AppError } from "./errors.ts";

/** A value that may be null. */
export function Nullable<T extends TSchema>(schema: T): TUnion<[T, TNull]> {
  return Type.Union([schema, Type.Null()]);
}

/** One of a closed list of strings. */
export function Enum<const V extends string>(values: readonly V[], options: SchemaOptions = {}) {
  return Type.Unsafe<V>(
    Type.Union(
      values.map((value) => Type.Literal(value)),
      options,
    ),
  );
}

/** RFC 3339 in UTC with milliseconds, so that text order is time order. */
export const Timestamp = Type.String({
  description: "RFC 3339, UTC, milliseconds.",
  examples: ["2026-01-31T12:00:00.000Z"],
});

/** Milliseconds since the epoch as a `Timestamp`. */
export function timestamp(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** A time of any zone, as it was sent, as a `Timestamp`. Throws `invalid_request`. */
export function readTime(name: string, text: string): string {
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return timestamp(time);
  throw new AppError(
    "invalid_request",
    `Invalid "${name}" ${JSON.stringify(text.slice(0, 40))}: give a time such as 2026-01-31T12:00:00Z`,
  );
}
