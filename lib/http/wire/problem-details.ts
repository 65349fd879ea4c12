import { Type } from "@sinclair/typebox";
import type { AppError, Reason } from "../../domain/errors.ts";
import { ReasonName } from "./envelope.ts";

/** The media type of RFC 9457. */
export const PROBLEM_JSON = "application/problem+json";

/** The schema of an error as RFC 9457 has it. */
export const ProblemDetails = Type.Object(
  {
    type: Type.String({
      description: "`urn:slipway:reason:` and the reason: it names the kind of error, and leads nowhere.",
      examples: ["urn:slipway:reason:not_found"],
    }),
    title: Type.String({ description: "The kind of error in words.", examples: ["Not found"] }),
    status: Type.Integer({ description: "The status of the answer.", examples: [404] }),
    detail: Type.String({
      description: "What was wrong and what to do, for a person.",
      examples: ['No function "x": GET /v1/functions lists them'],
    }),
    instance: Type.String({
      description: "`request_id` as a URN.",
      examples: ["urn:uuid:7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
    }),
    reason: ReasonName,
    request_id: Type.String({ description: "The `X-Request-Id` of this answer; the server's log has more under it." }),
  },
  { description: `An error for those who prefer \`${PROBLEM_JSON}\` (RFC 9457).` },
);

/** An error as RFC 9457 has it; members of our own are those of the envelope. */
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
 * Whether a client that sent this `Accept` wants its errors as RFC 9457: it names the type, and likes plain JSON no
 * better. Where both are as welcome it gets the problem: as only errors have that type, whoever names it means them, and
 * has to name JSON for the rest.
 */
export function prefersProblem(accept: string | null): boolean {
  if (accept === null || !/problem\+json/i.test(accept)) return false;
  const weights = new Map(accept.split(",").map(rangeOf));
  const problem = weights.get(PROBLEM_JSON) ?? 0;
  const plain = weights.get("application/json") ?? weights.get("application/*") ?? weights.get("*/*") ?? 0;
  return problem > 0 && problem >= plain;
}

/** A media range and its weight; one that is malformed has none. */
function rangeOf(text: string): [range: string, weight: number] {
  const [range = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? "1";
  return [range, /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight) : 0];
}

function titleOf(reason: Reason): string {
  return reason.charAt(0).toUpperCase() + reason.slice(1).replaceAll("_", " ");
}
