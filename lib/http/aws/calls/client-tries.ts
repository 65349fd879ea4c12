import type { BufferedRequest } from "../../../domain/calls/http-message.ts";
import { type IdempotentRequest, idempotentRequest } from "../../../domain/calls/idempotency.ts";
import { AWS_ANSWERS_MS, IDEMPOTENCY } from "../../../domain/limits.ts";
import { AwsError } from "../wire/errors.ts";
import type { Qualified } from "../wire/qualified.ts";
import type { AwsRequest, AwsTools } from "../wire/tools.ts";

/** The header with an id that all tries of a client at one call have. */
const TRIES_ID = "amz-sdk-invocation-id";

/** A call as it was sent, with the function that it is for. */
export interface SentCall extends Qualified {
  readonly key_id: string | null;
  readonly request: BufferedRequest;
}

/** One of the tries of a client at a call. Those of the server at an invocation are attempts. */
export interface ClientTry {
  /** The same for all tries at one call: the answer is kept for some time after the last moment at which the function may end. */
  readonly idempotency: IdempotentRequest;
  /** Notes that the client has left without an answer. */
  readonly givenUp: () => void;
}

/** Returns what tells the tries at one call from other calls: their id, or for clients that send none that they are equal. */
export function clientTryOf(
  { abandoned }: AwsTools,
  { request, id, subject }: AwsRequest,
  call: SentCall,
  type: string,
): ClientTry {
  const { function: fn, version, request: sent } = call;
  const kept_ms = Math.min(IDEMPOTENCY.ttl_ms, fn.timeout_ms + AWS_ANSWERS_MS);
  const named = { ...sent, url: `${type} ${encodeURIComponent(subject)} ${version}` };
  const identityOf = (of: string) => ({ ...idempotentRequest(`${TRIES_ID} ${of}`, named, false), kept_ms });
  const given = request.headers.get(TRIES_ID);
  if (given === null) {
    const equal = fingerprint(call, identityOf(id));
    const of = abandoned.idFor(equal, id);
    // The next try at a call that was given up must find it; a first one goes on while the database does not answer.
    const isOptional = of === id && type === "RequestResponse";
    const idempotency = isOptional ? { ...identityOf(of), is_optional: true as const } : identityOf(of);
    return { idempotency, givenUp: () => abandoned.left(equal, of) };
  }
  if (/^[\x21-\x7e]{1,128}$/.test(given)) return { idempotency: identityOf(given), givenUp: () => undefined };
  throw new AwsError("InvalidParameterValueException", `Invalid ${TRIES_ID}: give 1 to 128 characters of ASCII`);
}

/** Returns what is the same for equal requests of a client: of a key, an address and a program. */
function fingerprint(
  { function: fn, key_id, request: { headers, via } }: SentCall,
  { request_hash }: IdempotentRequest,
): string {
  const { "user-agent": program, "x-amz-client-context": context } = headers;
  return JSON.stringify([fn.id, key_id, via?.client_address, program, context, request_hash]);
}
