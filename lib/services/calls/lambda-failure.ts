import { FUNCTION_ERROR_HEADERS, failureResponse, functionErrorOf } from "../../domain/lambda/function-error.ts";
import type { FunctionResponse } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { BootError } from "../../runner/instance/boot-error.ts";

/**
 * Returns the answer to a call of the contract `lambda` that has failed without one of its function's, as AWS reports it; null where the
 * caller gets an error of ours. `thrown` is what kept the call from its function, if something did.
 */
export function lambdaFailure(
  invocation: Pick<Invocation, "id" | "status" | "reason" | "message" | "exit_code" | "signal">,
  { contract, timeout_ms }: Pick<Function, "contract" | "timeout_ms">,
  thrown?: unknown,
): FunctionResponse | null {
  if (contract !== "lambda") return null;
  const { report, ...end } = thrown instanceof BootError ? thrown.end : {};
  if (report !== undefined) return { status: 502, headers: FUNCTION_ERROR_HEADERS, body: report };
  const error = functionErrorOf({ ...invocation, ...end }, timeout_ms);
  return error === undefined ? null : failureResponse(error);
}
