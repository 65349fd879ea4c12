import type { Attempt } from "../domain/calls/attempts.ts";
import type { Delivery } from "../domain/calls/callbacks.ts";
import type { Invocation, LogEntry } from "../domain/calls/invocations.ts";
import type { Schedule } from "../domain/schedules.ts";
import type { Payload, ReadyWork, Work } from "./records.ts";

/**
 * The ledger of asynchronous invocations: the work that is left, attempts, results, callbacks. Each command but
 * `replayMany` is one transaction. Those that a caller gets an answer for (`submit`, `submitScheduled`, `replayMany`,
 * `cancelUnattended`, `resend`) are on the disk when they settle. The others survive the death of the process; if the
 * machine loses power the work is done once more.
 *
 * An attempt holds its work by a lease: nobody else may attempt it before the lease ends. A write for an attempt names it
 * (`AttemptId`), and does nothing if the work is no longer held by just that attempt: so an attempt that was given up
 * cannot overwrite the one after it. All commands throw `storage_full` if the disk has no room.
 */
export interface Ledger {
  /** True if other servers add, take and lose work of the same ledger. */
  readonly isShared: boolean;
  /**
   * Queues an invocation. With an idempotency key that came from the same caller with the same request before, returns
   * that invocation.
   * Throws `overloaded` if too many are queued, `storage_full` if the budget for requests and results has no room, and
   * `idempotency_mismatch` if the key came with another request.
   */
  submit(invocation: NewInvocation, key?: IdempotencyKey): Promise<Submitted>;
  /**
   * Queues the runs of a schedule and notes that they are done; with `overlap: skip` a run is left out if the one before
   * has not ended. Throws a `StaleError` if the schedule is no longer as `before`, `overloaded` and `storage_full`.
   */
  submitScheduled(runs: ScheduledRuns): Promise<ScheduledSubmission>;
  /**
   * Queues replays of invocations (`replay_of`), each unless one exists already, and returns the queued ones. Large ones are
   * several transactions. Without room for all of them it throws and queues none; if the room goes to others meanwhile,
   * returns those that were queued.
   */
  replayMany(replays: readonly NewInvocation[]): Promise<Invocation[]>;
  /**
   * Takes work that is ready, in turns; of each function the highest priority first, then what was due first. Work that another
   * server is about to take is left out.
   */
  claim(turns: Turns, lease: { readonly now: number; readonly until: number }): Promise<Claim>;
  /**
   * Gives back work that was taken and whose attempt is not begun after all, as if it had never been taken. Work that has lost its
   * lease meanwhile stays as it is.
   */
  giveBack(claimed: readonly Claimed[]): Promise<void>;
  /** Makes the lease of an attempt last until then at least. Returns whether the attempt still had it. */
  hold(attempt: AttemptId, until: number): Promise<boolean>;
  /** Renews all leases of this server; none of them ends earlier than it did. */
  renew(until: number): Promise<void>;
  /**
   * Writes the end of an attempt with everything that follows from it. Returns whether the attempt still had its lease.
   * An answer that the budget has no room for is not kept, and what follows is dead at once if there is none for its request.
   */
  end(end: End): Promise<boolean>;
  /** Marks the work that an earlier process of this server held as lost; returns how much it was. */
  loseMine(): Promise<number>;
  /** Lists lost work whose lease has ended by then, at most a batch. */
  lost(until: number): Promise<PendingWork[]>;
  /** Writes the ends of lost attempts, as `end` does, and returns those that were written: others may be faster. */
  release(ends: readonly End[]): Promise<End[]>;
  /** Makes ready what has become due, at most a batch, and returns its functions and priorities. */
  wake(now: number): Promise<ReadyWork[]>;
  /** Returns the time at which the next waiting work is due; null if none waits. */
  nextDue(): Promise<number | null>;
  /** Lists the functions that have something to do, each with its highest priority. */
  ready(): Promise<ReadyWork[]>;
  /** Counts the work that is left to do. */
  count(): Promise<number>;
  /** Returns the bytes of all requests and results that are kept: those that the budget limits. */
  keptBytes(): Promise<number>;
  /** Returns the work that is left for an invocation, if there is any. */
  find(invocationId: string): Promise<PendingWork | undefined>;
  /** Notes that an invocation is to be cancelled that another server attempts now. Returns whether one does. */
  askToCancel(invocationId: string): Promise<boolean>;
  /** Lists those of this server's attempts that are to end: someone has asked for it, or their leases are lost. */
  toEnd(attempts: readonly AttemptId[]): Promise<AttemptsToEnd>;
  /** Ends an invocation that no server attempts now (queued or lost). Returns whether that was so. */
  cancelUnattended(end: End): Promise<boolean>;
  /**
   * Takes back to now what a clock that was ahead has written: waits begin again, leases last as long as any may, and keys,
   * deliveries and the ends of invocations are of now, so that they age. At most a batch of each; returns how many they were.
   */
  takeBack(now: number): Promise<number>;
  /**
   * Keeps the key of a synchronous call that is about to be made. Returns what the first request with the key was answered
   * so far, or undefined if this is the first one. Throws `idempotency_mismatch` as `submit` does.
   */
  keepKey(invocation: Invocation, key: IdempotencyKey): Promise<StoredAnswer | undefined>;
  /** Keeps the answer to the first request with a key for as long as the key; without its body if there is no room. */
  keepAnswer(answer: StoredAnswer): Promise<void>;
  /** Forgets the key of a call that was not made. */
  dropKey(invocation: Invocation, key: IdempotencyKey): Promise<void>;
  /** Forgets idempotency keys from before that moment, at most a batch; returns how many. */
  forgetKeys(before: number): Promise<number>;
  /** Lists the receivers that deliveries wait for. */
  receivers(): Promise<WaitingReceiver[]>;
  /** Returns the due deliveries to a receiver, those that have waited longest first. */
  dueDeliveries(receiver: string, due: { readonly now: number; readonly limit: number }): Promise<Delivery[]>;
  /** Writes the state of a delivery. */
  saveDelivery(delivery: Delivery): Promise<void>;
  /** Makes an ended delivery due again; throws `conflict` if it waits anyway, returns undefined if there is none. */
  resend(invocationId: string, now: number): Promise<Delivery | undefined>;
}

/** An asynchronous invocation that is to be queued: `run_at` says when it is due. */
export interface NewInvocation {
  readonly invocation: Invocation & { readonly run_at: string };
  /** Its request, or the id of the invocation whose request it has. */
  readonly request: Pick<Payload, "request" | "request_meta"> | { readonly copy_of: string };
  /** The beginning of its wait (milliseconds since the epoch), if it waits for some time and not for a moment that was named. */
  readonly waits_since?: number;
}

/** A receiver of callbacks, and when the next delivery to it is due, in milliseconds since the epoch. */
export interface WaitingReceiver {
  readonly receiver: string;
  readonly due: number;
}

/** The answer to a request with an Idempotency-Key. */
export interface StoredAnswer {
  /** The invocation as it was then; `running` if the call has not been answered. */
  readonly invocation: Invocation;
  /** The function's own answer, as in `Payload`. */
  readonly response: Uint8Array | null;
  readonly response_meta: string | null;
}

/** The Idempotency-Key of a request. */
export interface IdempotencyKey {
  readonly key: string;
  /** Distinguishes the callers of a public route; null or left out if they are one. */
  readonly caller?: string | null;
  /** Distinguishes requests that came with the same key. */
  readonly request_hash: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The time that it is kept, in milliseconds; `IDEMPOTENCY.ttl_ms` by default and at most. */
  readonly kept_ms?: number;
}

/** A submission that was taken, now or before under the same key. */
export interface Submitted {
  readonly invocation: Invocation;
  readonly repeated: boolean;
}

/** The runs of a schedule that are due, oldest first, and the time up to which everything is done then. */
export interface ScheduledRuns {
  readonly before: Schedule;
  readonly last_due: number;
  readonly runs: readonly NewInvocation[];
}

/** The schedule after its runs were queued. */
export interface ScheduledSubmission {
  readonly schedule: Schedule;
  readonly queued: readonly Invocation[];
  readonly left_out: readonly NewInvocation[];
}

/** The name of an attempt: the invocation and the number of the attempt. */
export interface AttemptId {
  readonly invocation_id: string;
  readonly attempt: number;
}

/** Work that is left, with its invocation and its latest attempt. */
export interface PendingWork {
  readonly work: Work;
  readonly invocation: Invocation;
  /** Null if none was begun, or if it has been forgotten. */
  readonly attempt: Attempt | null;
  /** True if its server was asked to cancel it. */
  readonly cancel_asked?: boolean;
}

/** Attempts that are to end, by the ids of their invocations. */
export interface AttemptsToEnd {
  readonly cancelled: readonly string[];
  /** Another server may make the next attempt by now. */
  readonly lost: readonly string[];
}

/** Work that was taken, with the record of the attempt that begins. */
export interface Claimed extends PendingWork {
  readonly attempt: Attempt;
}

/** Turns to take a piece of work each. */
export interface Turns {
  /** The functions that may have turns, those that have waited longest first, each with the most that it may have. */
  readonly functions: readonly { readonly function_id: string; readonly most: number }[];
  /** The number of turns. */
  readonly limit: number;
  /** So many of them go to the work of the highest priority, and the others to the functions that have had the fewest of these turns. */
  readonly urgent: number;
}

/** Work that was taken, the highest priority first, and the functions among those of the turns that have ready work left. */
export interface Claim {
  readonly claimed: readonly Claimed[];
  readonly left: readonly ReadyWork[];
}

/** The result of an attempt: the end of its invocation, or another attempt to make. */
export interface End extends AttemptId {
  /** The record as it is from now on. */
  readonly invocation: Invocation;
  /** The record of the attempt, `forgotten` if it never began, or `unchanged`. */
  readonly record: Attempt | "forgotten" | "unchanged";
  /** The output of the attempt, if it is known. */
  readonly logs?: readonly LogEntry[];
  /** The function's answer; null if none is known. */
  readonly answer: Pick<Payload, "response" | "response_meta"> | null;
  /** The work that is left; null if the invocation has ended. */
  readonly left: Pick<Work, "due" | "attempts" | "lost_attempts" | "waits_since"> | null;
  /** The results that are to be sent. */
  readonly deliveries: readonly Delivery[];
  /** The invocations that follow. */
  readonly submissions: readonly NewInvocation[];
}
