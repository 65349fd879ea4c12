import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { InvocationStore, SavedInvocation } from "../../store/sqlite/tables/invocations.ts";
import type { Payload } from "../../store/sqlite/tables/payloads.ts";

/** From a record to its place in the database at most, in milliseconds. */
const FLUSH_MS = 100;
/** Records of one transaction, and bytes of logs with them: about 5 ms of the event loop, at 21 us a record. */
const BATCH = 200;
const BATCH_LOG_BYTES = 1024 * 1024;
/** Records that wait while the database cannot take them; beyond that the oldest are dropped. */
const WAITING = 10_000;
const PRUNE_INTERVAL_MS = 60_000;
/** Rows removed at once, in about 4 ms, so that no call waits for the retention; more follow after a pause. */
const PRUNE_BATCH = 200;
const PRUNE_PAUSE_MS = 50;

/** How much history is kept. */
export interface Retention {
  readonly max_age_ms: number;
  readonly max_count: number;
}

/** What is written of one invocation. */
type Pending = SavedInvocation;

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

  /** Takes the newest state of an invocation; with its logs, and what else is kept of it, once they are known. */
  put(invocation: Invocation, logs?: readonly LogEntry[], payload?: Payload): void {
    this.#pending.delete(invocation.id);
    this.#pending.set(invocation.id, { invocation, ...(logs && { logs }), ...(payload && { payload }) });
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
    const batch = this.#nextBatch();
    try {
      this.#store.save(batch);
      for (const { invocation } of batch) this.#pending.delete(invocation.id);
      return true;
    } catch (error) {
      if (error instanceof AppError && error.reason === "storage_full") {
        this.#log.error("records not written, will try again", { count: batch.length, problem: error.message });
        return false;
      }
      this.#log.error("records not written together, writing them one by one", { count: batch.length, error });
      for (const pending of batch) this.#writeOne(pending);
      return true;
    }
  }

  #nextBatch(): Pending[] {
    const batch: Pending[] = [];
    let bytes = 0;
    for (const pending of this.#pending.values()) {
      batch.push(pending);
      bytes += pending.invocation.log_bytes + payloadBytes(pending);
      if (batch.length >= BATCH || bytes >= BATCH_LOG_BYTES) break;
    }
    return batch;
  }

  /** One record that cannot be stored must not keep all others from it. */
  #writeOne(pending: Pending): void {
    const { id } = pending.invocation;
    this.#pending.delete(id);
    try {
      this.#store.save([pending]);
    } catch (error) {
      this.#metrics.recordsDropped.inc();
      this.#log.error("record dropped", { request_id: id, error });
    }
  }

  #dropOldest(): void {
    const oldest = this.#pending.keys().next().value;
    if (oldest === undefined) return;
    this.#pending.delete(oldest);
    this.#metrics.recordsDropped.inc();
  }

  #schedulePrune(afterMs = PRUNE_INTERVAL_MS): void {
    this.#cancelPrune = this.#clock.after(afterMs, () => {
      // A full batch means that there may be more.
      this.#schedulePrune(this.#prune() < PRUNE_BATCH ? PRUNE_INTERVAL_MS : PRUNE_PAUSE_MS);
    });
  }

  /** Removes a batch of records that are older, or more, than are kept; tells how many went. */
  #prune(): number {
    const { max_age_ms, max_count } = this.#retention;
    try {
      return this.#store.prune({ before: this.#clock.now() - max_age_ms, keep: max_count, batch: PRUNE_BATCH });
    } catch (error) {
      this.#log.warn("old records not removed", { problem: messageOf(error) });
      return 0;
    }
  }
}

function payloadBytes({ payload }: Pending): number {
  return payload === undefined ? 0 : payload.request.length + (payload.response?.length ?? 0);
}
