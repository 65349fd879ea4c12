import { Type, type Static } from "@sinclair/typebox";
import { Enum, Nullable, Timestamp } from "../types.ts";
import { Invocation, NOT_RUN } from "./invocations.ts";

/** One try at an asynchronous invocation, and how it ended. */
export const Attempt = Type.Object({
  attempt: Type.Integer({ description: "From 1.", examples: [1] }),
  status: Enum(["running", "succeeded", "failed", "timed_out", "cancelled", "lost"], {
    description: "`lost`: it ended with the server or the engine.",
    examples: ["succeeded"],
  }),
  reason: Invocation.properties.reason,
  message: Invocation.properties.message,
  exit_code: Invocation.properties.exit_code,
  signal: Invocation.properties.signal,
  start: Invocation.properties.start,
  queue_ms: Invocation.properties.queue_ms,
  start_ms: Invocation.properties.start_ms,
  boot_ms: Invocation.properties.boot_ms,
  first_byte_ms: Invocation.properties.first_byte_ms,
  run_ms: Invocation.properties.run_ms,
  cpu_ms: Invocation.properties.cpu_ms,
  peak_memory_bytes: Invocation.properties.peak_memory_bytes,
  response_bytes: Invocation.properties.response_bytes,
  log_bytes: Invocation.properties.log_bytes,
  log_dropped_bytes: Invocation.properties.log_dropped_bytes,
  started_at: Timestamp,
  finished_at: Nullable(Timestamp),
});
export type Attempt = Static<typeof Attempt>;

/** The facts that are known of a run that has ended. */
export interface Finished {
  readonly status: "succeeded" | "failed" | "timed_out" | "cancelled";
  /** The fields of the record that the run determines. */
  readonly fields: Partial<Omit<Invocation, "id" | "status">>;
}

/** The end of an attempt whose server ended before it did. */
export const LOST_WITH_SERVER: Finished = {
  status: "failed",
  fields: { reason: "instance_lost", message: "The server ended before the function did" },
};

/** Returns the record of an attempt that begins. */
export function beganAttempt(attempt: number, now: string): Attempt {
  return { ...NOT_RUN, attempt, status: "running", started_at: now };
}

/** Returns the same record when the attempt has ended; a lost one has that status. */
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
