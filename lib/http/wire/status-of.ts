import type { Reason } from "../../domain/errors.ts";

/** The HTTP status of each reason, for the whole server. */
export const STATUS_OF = {
  invalid_request: 400,
  image_invalid: 400,
  image_not_found: 400,
  registry_denied: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  conflict: 409,
  payload_too_large: 413,
  unsupported_encoding: 415,
  idempotency_mismatch: 422,
  misdirected_request: 421,
  too_many_requests: 429,
  // The client is gone, so nobody reads it. nginx uses the same number.
  cancelled: 499,
  internal: 500,
  function_failed: 502,
  invalid_response: 502,
  response_too_large: 502,
  entrypoint_failed: 502,
  boot_failed: 502,
  image_unavailable: 502,
  secret_unavailable: 502,
  isolation_unavailable: 502,
  registry_unavailable: 502,
  out_of_memory: 502,
  instance_lost: 502,
  engine_unavailable: 503,
  database_unavailable: 503,
  overloaded: 503,
  shutting_down: 503,
  boot_timeout: 504,
  function_timeout: 504,
  storage_full: 507,
} as const satisfies Record<Reason, number>;

/** The statuses of errors that a client can see: all but that of `cancelled`. */
export type ErrorStatus = Exclude<(typeof STATUS_OF)[Reason], 499>;
