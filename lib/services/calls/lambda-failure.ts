import {
  FUNCTION_ERROR_HEADERS,
  failureResponse,
  functionErrorOf,
  urlFailure,
} from "../../domain/lambda/function-error.ts";
import { isUrlCall } from "../../domain/lambda/function-url-event.ts";
import type { FunctionRequest, FunctionResponse } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { BootError } from "../../runner/instance/boot-error.ts";

/** The parts of a record that say how a call has failed, and who made it. */
type Failed = Pick<Invocation, "id" | "status" | "reason" | "message" | "exit_code" | "signal" | "route_id" | "key_id">;

/**
 * Returns the answer to a call of the contract `lambda` that has failed without one of its function's, as AWS reports it; null where the
 * caller gets an error of ours. `thrown` is what kept the call from its function, if something did. Strangers do not get the function's
 * own report.
 */
export function lambdaFailure(
  invocation: Failed,
  { contract, timeout_ms }: Pick<Function, "contract" | "timeout_ms">,
  { request, thrown }: { readonly request: Pick<FunctionRequest, "via">; readonly thrown?: unknown },
): FunctionResponse | null {
  if (contract !== "lambda") return null;
  const { report, ...end } = thrown instanceof BootError ? thrown.end : {};
  const error = functionErrorOf({ ...invocation, ...end }, timeout_ms);
  if (isUrlCall(request)) return error === undefined && report === undefined ? null : urlFailure(error);
  const isPublic = invocation.route_id !== null && invocation.key_id === null;
  if (report === undefined || isPublic) return error === undefined ? null : failureResponse(error);
  if (report instanceof Uint8Array) return { status: 502, headers: FUNCTION_ERROR_HEADERS, body: report };
  return failureResponse({ ...report, errorMessage: `RequestId: ${invocation.id} ${report.errorMessage}` });
}
