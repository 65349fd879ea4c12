import type { AppError } from "../../domain/errors.ts";
import { type ErrorContext, type ErrorForm, errorResponse, SANDBOX_HEADERS } from "../wire/errors.ts";

/** Errors as plain text, which `faas-cli` prints behind the status; clients that ask for JSON get it as everywhere. */
export const OPENFAAS_ERRORS: ErrorForm = {
  isFor: (path) => /^\/(?:system|function|async-function)(?:\/|$)/.test(path),
  response: openfaasError,
};

/** Returns the answer to an error. It must not act in the origin of `/v1` either, as it may answer the page of a function. */
function openfaasError(error: AppError, context: ErrorContext): Response {
  const asJson = errorResponse(error, context);
  const { status, headers } = asJson;
  for (const [name, value] of Object.entries(SANDBOX_HEADERS)) headers.set(name, value);
  if (/\bjson\b/i.test(context.accept ?? "")) return asJson;
  headers.set("Content-Type", "text/plain;charset=utf-8");
  return new Response(`${error.message}\n`, { status, headers });
}
