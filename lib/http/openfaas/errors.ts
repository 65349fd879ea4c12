import type { AppError } from "../../domain/errors.ts";
import { type ErrorContext, type ErrorForm, errorResponse, SANDBOX_HEADERS } from "../wire/errors.ts";

/** Errors as plain text, which `faas-cli` prints behind the status. */
export const OPENFAAS_ERRORS: ErrorForm = {
  isFor: (path) => /^\/(?:system|function|async-function)(?:\/|$)/.test(path),
  response: openfaasError,
};

/** Returns the answer to an error. It must not act in the origin of `/v1` either, as it may answer the page of a function. */
function openfaasError(error: AppError, context: ErrorContext): Response {
  const { status, headers } = errorResponse(error, context);
  for (const [name, value] of Object.entries(SANDBOX_HEADERS)) headers.set(name, value);
  headers.set("Content-Type", "text/plain;charset=utf-8");
  headers.delete("Vary");
  return new Response(`${error.message}\n`, { status, headers });
}
