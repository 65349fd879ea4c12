import { Type, type TSchema, type TUnion, type TNull } from "@sinclair/typebox";

/** A value that may be null. */
export function Nullable<T extends TSchema>(schema: T): TUnion<[T, TNull]> {
  return Type.Union([schema, Type.Null()]);
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
