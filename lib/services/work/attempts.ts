import type { Finished } from "../../domain/calls/attempts.ts";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import type { Retry, RetryWish } from "../../domain/functions/retry.ts";
import type { SharedPlace } from "../../runner/shared-places.ts";
import type { Claimed } from "../../store/ledger.ts";

/** An attempt that is to be made. */
export interface Task {
  readonly invocation: Invocation;
  readonly attempt: number;
  /** Aborts when the invocation is cancelled or the server stops. */
  readonly signal: AbortSignal;
  /** Awaited before the function gets the request: from then on it may run for so many milliseconds. Settles with the moment (`monotonic`) by which the function must have it. */
  readonly onHandover: (forMs: number) => Promise<number>;
  /** The place that was reserved for it, of those that servers share. */
  readonly shared_place?: SharedPlace | undefined;
  readonly onLogs: (entries: readonly LogEntry[]) => void;
}

/** The result of an attempt that was made. */
export interface AttemptResult {
  readonly finished: Finished;
  readonly response: Uint8Array | null;
  /** JSON; null if the function wrote none. */
  readonly response_meta: string | null;
  readonly logs: readonly LogEntry[];
  readonly wish: RetryWish;
  /** True if the function may still run because its engine is away. */
  readonly lost: boolean;
  /** Settles when its container is known to be gone. */
  readonly gone: Promise<void>;
  /** Counts it in the metrics. */
  readonly count: () => void;
}

/** Makes attempts. */
export interface AttemptMaker {
  /** Returns how many attempts at invocations of this function could run now, with room left for callers who wait for an answer. */
  room(functionId: string): number;
  /** True if there is an engine to make attempts with. */
  readonly available: boolean;
  /** Makes an attempt. Throws if the function was not handed the request. */
  run(task: Task): Promise<AttemptResult>;
  /** Returns the rules by which an invocation that fails is tried again. */
  retryOf(invocation: Invocation): Retry;
}

/** An attempt that is being made. */
export interface Running extends Claimed {
  readonly abort: AbortController;
  cancelled: boolean;
  /** The place that was reserved for it, of those that servers share. */
  readonly shared_place?: SharedPlace | undefined;
}
