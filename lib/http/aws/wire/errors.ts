import { AppError, type Reason } from "../../../domain/errors.ts";
import type { ErrorContext } from "../../wire/errors.ts";

/** The errors that clients get, by AWS's names (service-2.json of botocore), and the field that has their message. */
const ERRORS = {
  AccessDeniedException: { status: 403, message: "Message" },
  ClientClosedRequest: { status: 499, message: "Message" },
  InvalidParameterValueException: { status: 400, message: "message" },
  InvalidRequestContentException: { status: 400, message: "message" },
  NotImplementedException: { status: 501, message: "Message" },
  PreconditionFailedException: { status: 412, message: "message" },
  RequestTimeoutException: { status: 408, message: "message" },
  RequestTooLargeException: { status: 413, message: "message" },
  ResourceConflictException: { status: 409, message: "message" },
  ResourceNotFoundException: { status: 404, message: "Message" },
  ServiceException: { status: 500, message: "Message" },
  ServiceUnavailableException: { status: 503, message: "Message" },
  TooManyRequestsException: { status: 429, message: "message" },
  UnrecognizedClientException: { status: 403, message: "message" },
  UnsupportedMediaTypeException: { status: 415, message: "message" },
} as const;
type ErrorName = keyof typeof ERRORS;

/**
 * The error for each reason. Clients retry 429, 500 and above by themselves: only for what has not run, and may run later. A function
 * that cannot be run with its present image or settings is in conflict with them, which they do not retry.
 */
const NAMES = {
  invalid_request: "InvalidParameterValueException",
  image_invalid: "InvalidParameterValueException",
  image_not_found: "InvalidParameterValueException",
  registry_denied: "InvalidParameterValueException",
  unauthorized: "UnrecognizedClientException",
  forbidden: "AccessDeniedException",
  not_found: "ResourceNotFoundException",
  method_not_allowed: "NotImplementedException",
  request_timeout: "RequestTimeoutException",
  conflict: "ResourceConflictException",
  payload_too_large: "RequestTooLargeException",
  unsupported_encoding: "UnsupportedMediaTypeException",
  idempotency_mismatch: "InvalidParameterValueException",
  misdirected_request: "AccessDeniedException",
  too_many_requests: "TooManyRequestsException",
  cancelled: "ClientClosedRequest",
  internal: "ServiceException",
  function_failed: "ResourceConflictException",
  invalid_response: "ResourceConflictException",
  response_too_large: "ResourceConflictException",
  entrypoint_failed: "ResourceConflictException",
  boot_failed: "ResourceConflictException",
  image_unavailable: "ResourceConflictException",
  secret_unavailable: "ResourceConflictException",
  isolation_unavailable: "ResourceConflictException",
  out_of_memory: "ResourceConflictException",
  instance_lost: "ResourceConflictException",
  boot_timeout: "ResourceConflictException",
  function_timeout: "ResourceConflictException",
  registry_unavailable: "ServiceUnavailableException",
  engine_unavailable: "ServiceUnavailableException",
  database_unavailable: "ServiceUnavailableException",
  overloaded: "ServiceUnavailableException",
  shutting_down: "ServiceUnavailableException",
  storage_full: "ServiceException",
} as const satisfies Record<Reason, ErrorName>;

/** The wait before another attempt, in seconds, if nothing else is known. */
const RETRY_AFTER_S = 2;

/** An error that AWS has a name of its own for. */
export class AwsError extends AppError {
  readonly error: ErrorName;

  constructor(error: ErrorName, message: string, reason: Reason = "invalid_request") {
    super(reason, message);
    this.error = error;
  }
}

/** Returns the answer to an error as AWS's clients read it. */
export function awsError(error: AppError, { request_id }: Pick<ErrorContext, "request_id">): Response {
  const name = error instanceof AwsError ? error.error : NAMES[error.reason];
  const { status, message } = ERRORS[name];
  const headers = new Headers({ "x-amzn-ErrorType": name, "x-amzn-RequestId": request_id });
  if (status === 429 || status === 503) headers.set("Retry-After", String(error.retry_after_s ?? RETRY_AFTER_S));
  // Does not wait for the rest of a slow body.
  if (status === 408) headers.set("Connection", "close");
  const reason = status === 429 && { Reason: "ReservedFunctionConcurrentInvocationLimitExceeded" };
  return Response.json(
    { Type: status < 500 ? "User" : "Service", [message]: error.message, ...reason },
    { status, headers },
  );
}
