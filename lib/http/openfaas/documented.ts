import { REQUEST_ID_HEADER } from "../openapi/errors.ts";
import { errorDetails } from "../openapi/operation.ts";
import type { ErrorStatus } from "../wire/status-of.ts";

/** The tag of OpenFaaS's endpoints in the OpenAPI document. */
export const OPENFAAS_TAG = "openfaas";

/** Returns the error responses of an endpoint: those that any request can get, and its own. */
export function failing(...statuses: readonly ErrorStatus[]) {
  return errorDetails(401, 403, 421, 429, 500, ...statuses);
}

/** Returns the same of an endpoint that takes a body. */
export function failingWithBody(...statuses: readonly ErrorStatus[]) {
  return failing(400, 408, 413, 415, ...statuses);
}

/** Returns the response of an endpoint whose answer has no body: clients only look at the status. */
export function bare(status: 201 | 202, description = "Done.") {
  return { [status]: { description, headers: REQUEST_ID_HEADER } };
}
