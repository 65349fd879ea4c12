import type { Attempt } from "../../domain/calls/attempts.ts";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import type { Retry, RetryWish } from "../../domain/functions/retry.ts";
import type { Work } from "../../store/sqlite/tables/work.ts";
import type { Finished } from "./attempt-record.ts";

/** An attempt as it is handed to who can make it. */
export interface Task {
  readonly invocation: Invocation;
  readonly attempt: number;
  /** Aborts when the invocation is cancelled or the server stops. */
  readonly signal: AbortSignal;
  /** Told until when the function may run, in milliseconds from now, once it may. */
  readonly onHandover: (forMs: number) => void;
  readonly onLogs: (entries: readonly LogEntry[]) => void;
}

/** What became of an attempt. */
export interface AttemptResult {
  readonly finished: Finished;
  readonly response: Uint8Array | null;
  /** JSON; null where the function wrote none. */
  readonly response_meta: string | null;
  readonly logs: readonly LogEntry[];
  readonly wish: RetryWish;
  /** Whether the function may run on, its engine being away. */
  readonly lost: boolean;
  /** Settles when its container is known to be gone. */
  readonly gone: Promise<void>;
}

/** Who makes attempts. */
export interface AttemptMaker {
  /** Whether a function of this id could be given a place now, with room left for those who wait for an answer. */
  hasRoom(functionId: string): boolean;
  /** Whether there is an engine to make them with. */
  readonly available: boolean;
  /** Makes one. Throws where the function was not handed the request. */
  run(task: Task): Promise<AttemptResult>;
  /** How what fails is tried again. */
  retryOf(invocation: Invocation): Retry;
}

/** An attempt that is being made. */
export interface Running {
  readonly work: Work;
  readonly invocation: Invocation;
  readonly attempt: Attempt;
  readonly abort: AbortController;
  cancelled: boolean;
}
