/**
 * The reasons why a request is refused or an invocation fails. The list is closed: it is part of the API (`reason` of
 * every error envelope), and `http/wire/status-of.ts` gives each its status.
 */
export const REASONS = [
  "invalid_request",
  "image_invalid",
  "image_not_found",
  "registry_denied",
  "unauthorized",
  "forbidden",
  "not_found",
  "method_not_allowed",
  "request_timeout",
  "conflict",
  "payload_too_large",
  "unsupported_encoding",
  "idempotency_mismatch",
  "misdirected_request",
  "too_many_requests",
  "cancelled",
  "internal",
  "function_failed",
  "invalid_response",
  "response_too_large",
  "entrypoint_failed",
  "boot_failed",
  "image_unavailable",
  "secret_unavailable",
  "registry_unavailable",
  "out_of_memory",
  "instance_lost",
  "engine_unavailable",
  "database_unavailable",
  "isolation_unavailable",
  "overloaded",
  "shutting_down",
  "boot_timeout",
  "function_timeout",
  "storage_full",
] as const;

export type Reason = (typeof REASONS)[number];

/** Further facts about an error. */
export interface ErrorDetails {
  /** The underlying error, for the log; never part of a reply. */
  readonly cause?: unknown;
  /** Seconds after which a retry makes sense (`Retry-After`). */
  readonly retry_after_s?: number;
}

/**
 * The only error that our own code throws. The message is for the caller: the action first, quoted values, the cause
 * after a colon, and what to do if we know it. It never contains a host path, SQL or a stack.
 */
export class AppError extends Error {
  override readonly name = "AppError";
  readonly reason: Reason;
  readonly retry_after_s: number | undefined;

  constructor(reason: Reason, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.reason = reason;
    this.retry_after_s = details.retry_after_s;
  }
}

/** Returns the code of an error: a system's (`EACCES`) or a library's own (`SQLITE_FULL`); empty if it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** Returns the text of anything that was thrown, for a log line or after the colon of a message. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
