import type { Reason } from "../errors.ts";
import { type FunctionResponse, JSON_TYPE } from "../calls/http-message.ts";
import type { Invocation } from "../calls/invocations.ts";
import { publicMessage } from "../calls/public-message.ts";

/** The failure of a function in AWS Lambda's terms: what a client finds in the payload next to `X-Amz-Function-Error`. */
export interface FunctionError {
  readonly errorType: string;
  readonly errorMessage: string;
}

/** The parts of a record that say how a call has failed. */
type Failed = Pick<Invocation, "id" | "status" | "reason" | "message" | "exit_code" | "signal">;

/** Failures of which the function, or its image, is the cause. Of any other a client is told by a status of the server's. */
const FUNCTIONS_OWN: ReadonlySet<Reason> = new Set([
  "function_failed",
  "invalid_response",
  "response_too_large",
  "entrypoint_failed",
  "boot_failed",
  "boot_timeout",
  "out_of_memory",
  "function_timeout",
]);

/** The most bytes of a response that is not streamed, as AWS counts them. */
export const LAMBDA_RESPONSE_BYTES = 6 * 1024 * 1024 + 100;

/** The names of signals as Go prints them, and so AWS's runtime; those that are not here have their number. */
const SIGNALS: Readonly<Record<number, string>> = {
  1: "hangup",
  2: "interrupt",
  3: "quit",
  4: "illegal instruction",
  6: "aborted",
  7: "bus error",
  8: "floating point exception",
  9: "killed",
  11: "segmentation fault",
  13: "broken pipe",
  14: "alarm clock",
  15: "terminated",
};

/**
 * Returns how AWS Lambda reports a call that has failed by its function's fault, whatever its contract; nothing for one that has
 * succeeded, or failed for another reason. A function that has answered with an error of its own says more than this: use its body.
 */
export function functionErrorOf(call: Failed, timeoutMs: number): FunctionError | undefined {
  const { id, status, reason, message, exit_code, signal } = call;
  if (status === "succeeded" || reason === null || !FUNCTIONS_OWN.has(reason)) return undefined;
  const error = (errorType: string, what: string) => ({ errorType, errorMessage: `RequestId: ${id} Error: ${what}` });
  switch (reason) {
    case "function_timeout":
      return error("Sandbox.Timedout", `Task timed out after ${(timeoutMs / 1_000).toFixed(2)} seconds`);
    case "boot_timeout":
      return error("Sandbox.Timedout", publicMessage(reason, message ?? ""));
    case "out_of_memory":
      return error("Runtime.OutOfMemory", "Runtime exited with error: signal: killed");
    case "response_too_large":
      return {
        errorType: "Function.ResponseSizeTooLarge",
        errorMessage: `Response payload size exceeded maximum allowed payload size (${LAMBDA_RESPONSE_BYTES} bytes).`,
      };
    case "entrypoint_failed":
      return error("Runtime.InvalidEntrypoint", publicMessage(reason, message ?? ""));
    default:
      break;
  }
  if (signal === null && exit_code === 0)
    return error("Runtime.ExitError", "Runtime exited without providing a reason");
  if (signal !== null || exit_code !== null)
    return error("Runtime.ExitError", `Runtime exited with error: ${endInWords(exit_code ?? 0, signal ?? 0)}`);
  // Strangers may read it, and the message of a record has lines of the function's output.
  return error("Runtime.Unknown", publicMessage(reason, message ?? ""));
}

/** Returns how a process has ended, in AWS's words; `signal` is 0 if none ended it. */
export function endInWords(exitCode: number, signal: number): string {
  return signal === 0 ? `exit status ${exitCode}` : `signal: ${SIGNALS[signal] ?? signal}`;
}

/** Returns the answer of a function of the contract `lambda` that has failed without one of its own. */
export function failureResponse(error: FunctionError): FunctionResponse {
  return {
    status: statusOf(error),
    headers: FUNCTION_ERROR_HEADERS,
    body: Buffer.from(JSON.stringify(error)),
  };
}

/** Returns what a function URL answers for a failure: strangers learn no more of it, as at AWS. The record and the logs have the rest. */
export function urlFailure(error?: FunctionError): FunctionResponse {
  return {
    status: error === undefined ? 502 : statusOf(error),
    headers: [["content-type", JSON_TYPE]],
    body: Buffer.from('{"message":"Internal Server Error"}'),
  };
}

function statusOf({ errorType }: FunctionError): number {
  return errorType === "Sandbox.Timedout" ? 504 : 502;
}

/** The headers of an answer that reports a failure of a function of the contract `lambda`. */
export const FUNCTION_ERROR_HEADERS: FunctionResponse["headers"] = [
  ["content-type", "application/json"],
  ["x-amz-function-error", "Unhandled"],
];
