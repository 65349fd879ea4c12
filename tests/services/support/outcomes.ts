import type { Outcome } from "../../../lib/runner/instance/outcome.ts";

/** An outcome of which nothing is known but that it succeeded. */
export const BARE_OUTCOME: Outcome = {
  status: "succeeded",
  reason: null,
  message: null,
  exit_code: null,
  signal: null,
  cpu_ms: null,
  peak_memory_bytes: null,
  response_bytes: null,
  log_bytes: 0,
  log_dropped_bytes: 0,
  response: null,
  wish: {},
  logs: [],
};
