import { AppError, type Reason } from "../errors.ts";

/** Ends each sentence about a call that has a record: the caller can pass the id on to whoever may read it. */
const CAUSE = "whoever runs the server finds the cause under this request id";

/**
 * What a caller of `/r` reads for each reason: a stranger, who must not learn the names of images, secrets, commands,
 * settings or registries. Null if the message is about the request itself, or about the server's state and nothing else.
 */
const PUBLIC_MESSAGES = {
  invalid_request: null,
  unauthorized: null,
  forbidden: null,
  not_found: null,
  method_not_allowed: null,
  request_timeout: null,
  unsupported_encoding: null,
  conflict: null,
  payload_too_large: null,
  idempotency_mismatch: null,
  misdirected_request: null,
  shutting_down: null,
  cancelled: null,
  too_many_requests: null,
  overloaded: "The server is busy: try again later",
  database_unavailable: "The server cannot store anything now: try again later",
  storage_full: "The server cannot store anything now: try again later",
  internal: `Internal error: ${CAUSE}`,
  image_invalid: `The function cannot be run: ${CAUSE}`,
  image_not_found: `The function's image is not available: ${CAUSE}`,
  registry_denied: `The function's image is not available: ${CAUSE}`,
  registry_unavailable: `The function's image is not available: ${CAUSE}`,
  image_unavailable: `The function's image is not available: ${CAUSE}`,
  secret_unavailable: `The function cannot be run with its present settings: ${CAUSE}`,
  isolation_unavailable: `The function cannot be run with its present settings: ${CAUSE}`,
  entrypoint_failed: `The function could not be started: ${CAUSE}`,
  boot_failed: `The function could not be started: ${CAUSE}`,
  boot_timeout: `The function did not start in time: ${CAUSE}`,
  engine_unavailable: `Functions cannot be run now: try again later; ${CAUSE}`,
  instance_lost: `The function was lost before it answered: ${CAUSE}`,
  function_failed: `The function failed and gave no answer: ${CAUSE}`,
  invalid_response: `The function's answer cannot be passed on: ${CAUSE}`,
  response_too_large: `The function's answer is too large: ${CAUSE}`,
  out_of_memory: `The function ran out of memory: ${CAUSE}`,
  function_timeout: `The function did not answer in time: ${CAUSE}`,
} as const satisfies Record<Reason, string | null>;

/** Returns the message of a refused or failed call for a reader who may not see its record. */
export function publicMessage(reason: Reason, message: string): string {
  return PUBLIC_MESSAGES[reason] ?? message;
}

/** Returns an error as such a reader may see it. What is not one of ours is passed on: it is never shown. */
export function publicError<E>(error: E): E | AppError {
  if (!(error instanceof AppError)) return error;
  const message = publicMessage(error.reason, error.message);
  if (message === error.message) return error;
  const { retry_after_s, cause } = error;
  return new AppError(error.reason, message, { cause, ...(retry_after_s !== undefined && { retry_after_s }) });
}
