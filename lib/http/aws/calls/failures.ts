import { type FunctionError, functionErrorOf } from "../../../domain/lambda/function-error.ts";
import type { FunctionResponse } from "../../../domain/calls/http-message.ts";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import { publicMessage } from "../../../domain/calls/public-message.ts";
import { AppError } from "../../../domain/errors.ts";
import type { Answer } from "../../../services/calls/call.ts";

/** The lowest status of an answer that reports a failure. */
const FIRST_ERROR = 400;
/** The header by which a function of the contract `lambda` says that its answer is an error. */
const FUNCTION_ERROR = "x-amz-function-error";

/** The failure of a function, and the payload that tells of it. */
export interface Failure extends FunctionError {
  /** The function's own report in AWS's form; without one, the payload has the type and the message only. */
  readonly payload?: Uint8Array;
}

/** The parts of an answer that say whether it reports a failure. Its body has arrived, or is one that streams. */
export type Answered = Pick<Answer, "invocation" | "response" | "not_begun" | "retry_after_s">;

/**
 * Returns the failure that an answer reports, nothing for a success. Throws the error of a call that has not reached its function: only
 * that may be tried again, which clients do by themselves.
 */
export function failureOf(
  { invocation, response, not_begun, retry_after_s }: Answered,
  timeoutMs: number,
): Failure | undefined {
  const ended = functionErrorOf(invocation, timeoutMs);
  if (response === null) {
    if (ended !== undefined) return ended;
    if (not_begun === true) throw refusal(invocation, retry_after_s);
    return lost(invocation);
  }
  if (isSaidError(response)) return said(response);
  if (response.status < FIRST_ERROR) return undefined;
  const { status, body } = response;
  const text = body instanceof Uint8Array ? Buffer.from(body).toString() : "";
  const errorType = ended?.errorType ?? `Function.Status${status}`;
  const errorMessage = text === "" ? (ended?.errorMessage ?? `The function answered with the status ${status}`) : text;
  return isAwsError(text) ? { errorType, errorMessage, payload: Buffer.from(text) } : { errorType, errorMessage };
}

/** Returns a failure as JSON, as the payload of an answer. */
export function payloadOf({ errorType, errorMessage, payload }: Failure): Uint8Array {
  return payload ?? Buffer.from(JSON.stringify({ errorType, errorMessage }));
}

function isSaidError({ headers }: FunctionResponse): boolean {
  return headers.some(([name]) => name === FUNCTION_ERROR);
}

function said({ body }: FunctionResponse): Failure {
  const bytes = body instanceof Uint8Array ? body : new Uint8Array();
  const { errorType = "Function.Error", errorMessage = "The function has failed" } = awsErrorIn(
    Buffer.from(bytes).toString(),
  );
  return { errorType, errorMessage, payload: bytes };
}

function isAwsError(text: string): boolean {
  return awsErrorIn(text).errorMessage !== undefined;
}

/** Returns the fields that an error has in AWS's form, as far as a text has them. */
function awsErrorIn(text: string): Partial<FunctionError> {
  try {
    const value: unknown = JSON.parse(text);
    if (value === null || typeof value !== "object") return {};
    const { errorType, errorMessage } = value as { errorType?: unknown; errorMessage?: unknown }; // any object
    return {
      ...(typeof errorType === "string" && { errorType }),
      ...(typeof errorMessage === "string" && { errorMessage }),
    };
  } catch {
    return {};
  }
}

/** Returns the failure of a call of which only so much is known that it was begun: another attempt could be a second run. */
function lost({ id, reason, message }: Invocation): Failure {
  const why = publicMessage(reason ?? "instance_lost", message ?? "The function was lost before it answered");
  return { errorType: "Sandbox.Failure", errorMessage: `RequestId: ${id} Error: ${why}` };
}

function refusal({ reason, message }: Invocation, retry_after_s: number | undefined): AppError {
  const details = retry_after_s === undefined ? {} : { retry_after_s };
  return new AppError(reason ?? "internal", message ?? "The call was not made", details);
}
