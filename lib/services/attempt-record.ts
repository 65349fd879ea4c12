import type { Attempt } from "../domain/attempts.ts";
import type { Invocation } from "../domain/invocations.ts";

/** What is known of a run when it has ended. */
export interface Finished {
  readonly status: "succeeded" | "failed" | "timed_out" | "cancelled";
  /** The fields of the record that the run tells. */
  readonly fields: Partial<Omit<Invocation, "id" | "status">>;
}

/** The record of an attempt that begins. */
export function beganAttempt(attempt: number, now: string): Attempt {
  return {
    attempt,
    status: "running",
    reason: null,
    message: null,
    exit_code: null,
    signal: null,
    start: null,
    queue_ms: null,
    start_ms: null,
    run_ms: null,
    cpu_ms: null,
    peak_memory_bytes: null,
    response_bytes: null,
    log_bytes: 0,
    log_dropped_bytes: 0,
    started_at: now,
    finished_at: null,
  };
}

/** The same when it has ended; a lost one says so. */
export function endedAttempt(began: Attempt, { status, fields }: Finished, lost: boolean, now: string): Attempt {
  const known = Object.keys(began).flatMap((name) =>
    name in fields ? [[name, fields[name as keyof typeof fields]] as const] : [],
  );
  return {
    ...began,
    ...Object.fromEntries(known),
    status: lost ? "lost" : status,
    attempt: began.attempt,
    finished_at: now,
  };
}
