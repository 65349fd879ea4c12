import type { Attempt } from "../domain/calls/attempts.ts";
import type { Delivery } from "../domain/calls/callbacks.ts";
import type {
  Invocation,
  InvocationPage,
  InvocationQuery,
  LogEntry,
  Undelivered,
} from "../domain/calls/invocations.ts";
import type { Payload, Pruning, SavedInvocation } from "./records.ts";

/** Which dead invocations: of a function, and made with a key; null for any. */
export type DeadFilter = { readonly [F in "function_id" | "key_id"]: string | null };

/** A record that another server has written last: the one that runs it, while it runs. */
export interface WrittenElsewhere {
  readonly invocation: Invocation;
  /** The id of that server. */
  readonly holder: string;
}

/** The records of invocations, synchronous and asynchronous ones, with their logs, payloads and attempts. */
export interface History {
  /** Returns a page, newest first. Throws `invalid_request` for a cursor that no page gave. */
  list(query: InvocationQuery): Promise<InvocationPage>;
  get(id: string): Promise<Invocation | undefined>;
  /** Returns those records among these that another server has written last. */
  writtenElsewhere(ids: readonly string[]): Promise<WrittenElsewhere[]>;
  /** Returns the kept part of the function's output; empty if it printed nothing or the invocation is not known. */
  logs(id: string): Promise<LogEntry[]>;
  payload(id: string): Promise<Payload | undefined>;
  /** Lists the attempts at an invocation, the first one first. */
  attempts(id: string): Promise<Attempt[]>;
  /** Returns the function's output in an attempt; undefined if there was no such attempt. */
  attemptLogs(id: string, attempt: number): Promise<LogEntry[] | undefined>;
  /** Returns the delivery of the result to its `callback_url`; undefined if it has none, or no result yet. */
  delivery(id: string): Promise<Delivery | undefined>;
  /** Lists the dead ones not replayed yet whose requests and functions still exist, the newest first. */
  deadNotReplayed(filter: DeadFilter, limit: number): Promise<Invocation[]>;
  countDeadNotReplayed(filter: DeadFilter): Promise<number>;
  /** Writes records, new or known, in one transaction. They survive the death of the process, not of the machine. */
  save(records: readonly SavedInvocation[]): Promise<void>;
  /** Notes that the answer of an invocation did not reach its caller. Later states of the record keep the note. */
  markUndelivered(id: string, why: Undelivered): Promise<void>;
  /** Removes an invocation and its logs. */
  remove(id: string): Promise<void>;
  /**
   * Removes up to a batch of the records that ended first, except those whose result is to be sent, and results beyond
   * their part of the budget. Returns the number of removed records; while it is not 0 there may be more.
   */
  prune(pruning: Pruning): Promise<number>;
  /**
   * Ends the synchronous invocations that an earlier process left running, as of `now` (milliseconds since the epoch).
   * Returns their number.
   */
  markLost(now: number): Promise<number>;
}
