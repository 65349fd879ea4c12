import { Type, type TSchema } from "@sinclair/typebox";
import { REASONS, type Reason } from "../../domain/errors.ts";
import type { ErrorStatus } from "./status-of.ts";

/** Returns the schema of `{success, message, data}` around an endpoint's data; `description` says what that is. */
export function Envelope<T extends TSchema>(data: T, description: string) {
  return Type.Object({ success: Type.Literal(true), message: Type.Literal("success"), data }, { description });
}

/** The schema of a reason, one of a closed list. */
export const ReasonName = Type.Unsafe<Reason>(
  Type.Union(
    REASONS.map((reason) => Type.Literal(reason)),
    { description: "The kind of error, for programs.", examples: ["not_found"] },
  ),
);

/** The schema of every error except those that a function answers itself. */
export const ErrorEnvelope = Type.Object(
  {
    success: Type.Literal(false),
    message: Type.String({
      description: "What went wrong and what to do, for people.",
      examples: ['No function "x": GET /v1/functions lists them'],
    }),
    data: Type.Null(),
    reason: ReasonName,
    request_id: Type.String({
      description: "The `X-Request-Id` of this answer. The server's log has the details under it.",
    }),
  },
  { description: "An error: any answer that is neither a success nor a function's own." },
);

/** The options of a response whose body is JSON already, with the content type that Elysia gives JSON. */
export const JSON_ANSWER = { headers: { "Content-Type": "application/json;charset=utf-8" } } as const;

/**
 * Takes the place of the headers that an answer would get, once it has all of them: to add one to a finished response takes
 * longer than to make it.
 */
export const COMPLETE: Record<string, string | number> = Object.freeze({});

/** Returns the envelope of a success, in the seed's key order. */
export function success<T>(data: T): { success: true; message: "success"; data: T } {
  return { success: true, message: "success", data };
}

/** Returns the same as JSON, around data that is JSON already. */
export function successText(data: string): string {
  return `{"success":true,"message":"success","data":${data}}`;
}

/** Returns the envelope of an error. */
export function failure(reason: Reason, message: string, requestId: string) {
  return { success: false as const, message, data: null, reason, request_id: requestId };
}

/** Returns the error responses of an endpoint, for its schema: those that any request can get, and its own. */
export function errors<const S extends ErrorStatus>(...statuses: readonly S[]) {
  return Object.fromEntries([401, 403, 421, 429, 500, ...statuses].map((status) => [status, ErrorEnvelope])) as Record<
    401 | 403 | 421 | 429 | 500 | S,
    typeof ErrorEnvelope
  >; // fromEntries forgets the keys it was given
}
