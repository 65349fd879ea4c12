import type { Invocation, LogEntry } from "../invocations.ts";

/** A piece of the output of one of a function's calls. */
export interface FunctionLogEntry extends LogEntry {
  readonly invocation_id: string;
}

/** The end of one of a function's calls, or of an attempt at it that is followed by another one (`queued`). */
export interface FunctionCallEnd extends Pick<Invocation, "status" | "reason" | "start" | "run_ms" | "finished_at"> {
  readonly invocation_id: string;
}

/** The output of a function's calls and how they ended, since the piece before. */
export interface FunctionOutput {
  readonly entries: readonly FunctionLogEntry[];
  readonly ends: readonly FunctionCallEnd[];
  /** Entries and ends that were left out before these: more came than is passed on. */
  readonly left_out: number;
}

/** Returns the part of a record that says how a call ended. */
export function endOfCall({ id, status, reason, start, run_ms, finished_at }: Invocation): FunctionCallEnd {
  return { invocation_id: id, status, reason, start, run_ms, finished_at };
}
