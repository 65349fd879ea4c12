import { Type } from "@sinclair/typebox";
import type { AppError, Reason } from "../../domain/errors.ts";
import { ReasonName } from "./envelope.ts";

/** The media type of RFC 9457. */
export const PROBLEM_JSON = "application/problem+json";

/** The schema of an error in the form of RFC 9457. */
export const ProblemDetails = Type.Object(
  {
    type: Type.String({
      description: "`urn:slipway:reason:` and the reason. It identifies the kind of error and is not a link.",
      examples: ["urn:slipway:reason:not_found"],
    }),
    title: Type.String({ description: "The kind of error in words.", examples: ["Not found"] }),
    status: Type.Integer({ description: "The HTTP status of the answer.", examples: [404] }),
    detail: Type.String({
      description: "What went wrong and what to do, for people.",
      examples: ['No function "x": GET /v1/functions lists them'],
    }),
    instance: Type.String({
      description: "`request_id` as a URN.",
      examples: ["urn:uuid:7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
    }),
    reason: ReasonName,
    request_id: Type.String({
      description: "The `X-Request-Id` of this answer. The server's log has the details under it.",
    }),
  },
  { description: `An error, for clients that prefer \`${PROBLEM_JSON}\` (RFC 9457).` },
);

/** Returns an error in the form of RFC 9457. The members beyond the standard are those of the envelope. */
export function problemDetails({ reason, message }: Pick<AppError, "reason" | "message">, status: number, id: string) {
  return {
    type: `urn:slipway:reason:${reason}`,
    title: titleOf(reason),
    status,
    detail: message,
    instance: `urn:uuid:${id}`,
    reason,
    request_id: id,
  };
}

/**
 * Returns whether this `Accept` asks for errors in the form of RFC 9457: it names the type and does not prefer plain
 * JSON. If both weigh the same, it does: only errors have that type, and a client needs JSON for everything else.
 */
export function prefersProblem(accept: string | null): boolean {
  if (accept === null || !/problem\+json/i.test(accept)) return false;
  const weights = new Map(accept.split(",").map(rangeOf));
  const problem = weights.get(PROBLEM_JSON) ?? 0;
  const plain = weights.get("application/json") ?? weights.get("application/*") ?? weights.get("*/*") ?? 0;
  return problem > 0 && problem >= plain;
}

/** Returns a media range and its weight, which is 0 if it is malformed. */
function rangeOf(text: string): [range: string, weight: number] {
  const [range = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? "1";
  return [range, /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight) : 0];
}

function titleOf(reason: Reason): string {
  return reason.charAt(0).toUpperCase() + reason.slice(1).replaceAll("_", " ");
}
