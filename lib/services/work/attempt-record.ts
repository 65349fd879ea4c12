import type { Attempt } from "../../domain/calls/attempts.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { NOT_RUN } from "../calls/record.ts";

/** What is known of a run when it has ended. */
export interface Finished {
  readonly status: "succeeded" | "failed" | "timed_out" | "cancelled";
  /** The fields of the record that the run tells. */
  readonly fields: Partial<Omit<Invocation, "id" | "status">>;
}

/** What is known of an attempt whose server ended before it did. */
export const LOST_WITH_SERVER: Finished = {
  status: "failed",
  fields: { reason: "instance_lost", message: "The server ended before the function did" },
};

/** The record of an attempt that begins. */
export function beganAttempt(attempt: number, now: string): Attempt {
  return { ...NOT_RUN, attempt, status: "running", started_at: now };
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
