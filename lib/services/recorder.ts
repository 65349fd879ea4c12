import type { Clock } from "../clock.ts";
import { messageOf } from "../domain/errors.ts";
import type { Invocation, LogEntry } from "../domain/invocations.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { InvocationStore } from "../store/invocations.ts";

/** From a record to its place in the database at most, in milliseconds. */
const FLUSH_MS = 100;
/** Records of one transaction: about 6 ms of the event loop at 12 us each. */
const BATCH = 500;
/** Records that wait while the database cannot take them; beyond that the oldest are dropped. */
const WAITING = 10_000;
const PRUNE_INTERVAL_MS = 60_000;
/** Rows removed at once, so that no call waits for the retention. */
const PRUNE_BATCH = 500;

/** How much history is kept. */
export interface Retention {
  readonly max_age_ms: number;
  readonly max_count: number;
}

interface Pending {
  readonly invocation: Invocation;
  readonly logs?: readonly LogEntry[];
}

/** Writes records in batches, off the path of calls, and lets old ones go. */
export class Recorder implements AsyncDisposable {
  readonly #store: InvocationStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #retention: Retention;
  /** By id: what is known later replaces what was known earlier. */
  readonly #pending = new Map<string, Pending>();
  #cancelFlush: (() => void) | undefined;
  #cancelPrune: () => void = () => undefined;

  constructor(options: { store: InvocationStore; clock: Clock; log: Logger; metrics: Metrics; retention: Retention }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#retention = options.retention;
  }

  /** Marks what an earlier server left running as lost, and begins to let old records go. */
  start(): void {
    const lost = this.#store.markLost(this.#clock.now());
    if (lost > 0) this.#log.warn("invocations lost with an earlier server", { count: lost });
    this.#schedulePrune();
  }

  /** Takes the newest state of an invocation; with its logs once they are known. */
  put(invocation: Invocation, logs?: readonly LogEntry[]): void {
    this.#pending.delete(invocation.id);
    this.#pending.set(invocation.id, { invocation, ...(logs && { logs }) });
    if (this.#pending.size > WAITING) this.#dropOldest();
    this.#cancelFlush ??= this.#clock.after(FLUSH_MS, () => this.#flushLater());
  }

  /** Forgets an invocation that did not become one. */
  drop(id: string): void {
    if (!this.#pending.delete(id)) this.#store.remove(id);
  }

  /** Writes everything now; readers call it, so that they find what has happened. A database that refuses is logged. */
  flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    while (this.#pending.size > 0) if (!this.#writeBatch()) return;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelPrune();
    this.flush();
    this.#cancelFlush?.();
  }

  #flushLater(): void {
    this.#cancelFlush = undefined;
    this.#writeBatch();
    // The rest, or what could not be written, has its turn after everyone else had theirs.
    if (this.#pending.size > 0) this.#cancelFlush ??= this.#clock.after(FLUSH_MS, () => this.#flushLater());
  }

  #writeBatch(): boolean {
    const batch = [...this.#pending.values().take(BATCH)];
    try {
      this.#store.save(batch);
      for (const { invocation } of batch) this.#pending.delete(invocation.id);
      return true;
    } catch (error) {
      this.#log.error("records not written, will try again", { count: batch.length, problem: messageOf(error) });
      return false;
    }
  }

  #dropOldest(): void {
    const oldest = this.#pending.keys().next().value;
    if (oldest === undefined) return;
    this.#pending.delete(oldest);
    this.#metrics.recordsDropped.inc();
  }

  #schedulePrune(): void {
    this.#cancelPrune = this.#clock.after(PRUNE_INTERVAL_MS, () => {
      this.#schedulePrune();
      this.prune();
    });
  }

  /** Removes a batch of records that are older, or more, than are kept. */
  prune(): void {
    const { max_age_ms, max_count } = this.#retention;
    try {
      this.#store.prune({ before: this.#clock.now() - max_age_ms, keep: max_count, batch: PRUNE_BATCH });
    } catch (error) {
      this.#log.warn("old records not removed", { problem: messageOf(error) });
    }
  }
}
