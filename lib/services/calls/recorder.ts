import type { Clock } from "../../clock.ts";
import type { Invocation, LogEntry, Undelivered } from "../../domain/calls/invocations.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { PAGE } from "../../domain/limits.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { History } from "../../store/history.ts";
import type { Payload, SavedInvocation } from "../../store/records.ts";
import type { Tracing } from "../tracing/tracing.ts";

/** The reasons why records are not written now, and may be later. */
const LATER: ReadonlySet<string> = new Set(["storage_full", "database_unavailable"]);

/** The longest time from a record to its write, in milliseconds. */
const FLUSH_MS = 100;
/** The same while more than a batch waits: servers of the contract `http` may have thousands of calls a second. */
const BEHIND_MS = 10;
/** Records of one transaction, and bytes of logs with them: about 5 ms of the event loop, at 21 us a record. */
const BATCH = 200;
const BATCH_LOG_BYTES = 1024 * 1024;
/** Records that wait while the database cannot take them; beyond that the oldest are dropped. */
const WAITING = 10_000;
const PRUNE_INTERVAL_MS = 60_000;
/** Rows removed at once, in about 4 ms, so that no call waits for the retention; more follow after a pause. */
const PRUNE_BATCH = 200;
const PRUNE_PAUSE_MS = 50;

/** The limits of the history that is kept. */
export interface Retention {
  readonly max_age_ms: number;
  readonly max_count: number;
}

interface RecorderDeps {
  readonly history: Pick<History, "save" | "markUndelivered" | "remove" | "prune" | "markLost" | "list" | "get">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly retention: Retention;
  readonly tracing: Pick<Tracing, "exports" | "lost">;
}

/** Writes records in batches, off the path of calls, and removes old ones. */
export class Recorder implements AsyncDisposable {
  readonly #deps: RecorderDeps;
  /** By id: a later state replaces an earlier one. */
  readonly #pending = new Map<string, SavedInvocation>();
  readonly #nextFlush: Alarm;
  readonly #nextPrune: Alarm;
  /** The last removal of old records; never rejects. */
  #pruning: Promise<void> = Promise.resolve();
  #isOver = false;
  #isFlushDue = false;
  #isWriting = false;
  /** Settles when all requested writes are done: one after the other, so that a newer state never comes first. */
  #writes: Promise<void> = Promise.resolve();

  constructor(deps: RecorderDeps) {
    this.#deps = deps;
    this.#nextFlush = new Alarm(deps.clock, () => void this.#flushLater());
    this.#nextPrune = new Alarm(deps.clock, () => void (this.#pruning = this.#prune()));
  }

  /** Marks the invocations that an earlier server left running as lost, and begins to remove old records. */
  async start(): Promise<void> {
    const { history, clock, log, tracing } = this.#deps;
    const running = tracing.exports ? await this.#running() : [];
    const lost = await history.markLost(clock.now());
    if (lost > 0) log.warn("invocations lost with an earlier server", { count: lost });
    for (const id of running) {
      const record = await history.get(id);
      // Others may be those of servers that live.
      if (record?.reason === "instance_lost") tracing.lost(record);
    }
    this.#nextPrune.set(PRUNE_INTERVAL_MS);
  }

  /** Returns the ids of the synchronous invocations that an earlier server left running. */
  async #running(): Promise<string[]> {
    const ids: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const query = { status: "running", limit: PAGE.max, ...(cursor !== undefined && { cursor }) } as const;
      const { invocations, next_cursor } = await this.#deps.history.list(query);
      ids.push(...invocations.flatMap(({ id, mode }) => (mode === "sync" ? [id] : [])));
      cursor = next_cursor;
    }
    return ids;
  }

  /** Takes the newest state of an invocation, with its logs and payload once they are known. */
  put(invocation: Invocation, logs?: readonly LogEntry[], payload?: Payload): void {
    this.#pending.delete(invocation.id);
    this.#pending.set(invocation.id, { invocation, ...(logs && { logs }), ...(payload && { payload }) });
    if (this.#pending.size > WAITING) this.#dropOldest();
    if (!this.#isFlushDue) this.#scheduleFlush();
  }

  /** Forgets an invocation that was turned away. */
  drop(id: string): void {
    const { history, log } = this.#deps;
    const wasPending = this.#pending.delete(id);
    if (wasPending && !this.#isWriting) return;
    // It is written, or on its way.
    void this.#afterWrites(() => history.remove(id)).catch((error: unknown) => {
      log.warn("a record is not removed", { request_id: id, problem: messageOf(error) });
    });
  }

  /** Notes that an answer did not reach its caller, once the record is written. */
  undelivered(id: string, why: Undelivered): void {
    const { history, log } = this.#deps;
    const noted = this.#afterWrites(async () => {
      await this.#writeAll();
      await history.markUndelivered(id, why);
    });
    noted.catch((error: unknown) => {
      log.warn("not noted that an answer did not arrive", { request_id: id, problem: messageOf(error) });
    });
  }

  /** Writes everything now: readers call it, so that they find what has happened. An error of the database is logged. */
  flush(): Promise<void> {
    this.#nextFlush.clear();
    this.#isFlushDue = false;
    return this.#afterWrites(() => this.#writeAll());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#nextPrune[Symbol.dispose]();
    await this.#pruning;
    await this.flush();
    this.#nextFlush[Symbol.dispose]();
  }

  #scheduleFlush(inMs = FLUSH_MS): void {
    this.#isFlushDue = true;
    this.#nextFlush.set(inMs);
  }

  async #flushLater(): Promise<void> {
    this.#isFlushDue = false;
    let isWritten = false;
    await this.#afterWrites(async () => {
      isWritten = await this.#writeBatch();
    });
    // The rest, or what could not be written, waits for its turn, so that other tasks can run.
    if (isWritten && this.#pending.size >= BATCH) this.#scheduleFlush(BEHIND_MS);
    else if (this.#pending.size > 0 && !this.#isFlushDue) this.#scheduleFlush();
  }

  #afterWrites(work: () => Promise<void>): Promise<void> {
    const done = this.#writes.then(work);
    this.#writes = done.catch(() => undefined);
    return done;
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.size > 0) if (!(await this.#writeBatch())) return;
  }

  /** Writes a batch. Returns false if the disk is full, or the database away. */
  async #writeBatch(): Promise<boolean> {
    const { history, log } = this.#deps;
    const batch = this.#nextBatch();
    this.#isWriting = true;
    try {
      await history.save(batch);
      for (const saved of batch) this.#forget(saved);
      return true;
    } catch (error) {
      if (error instanceof AppError && LATER.has(error.reason)) {
        log.error("records not written, will try again", { problem: error.message });
        return false;
      }
      log.error("records not written together, writing them one by one", { count: batch.length, error });
      for (const saved of batch) await this.#writeOne(saved);
      return true;
    } finally {
      this.#isWriting = false;
    }
  }

  #nextBatch(): SavedInvocation[] {
    const batch: SavedInvocation[] = [];
    let bytes = 0;
    for (const saved of this.#pending.values()) {
      batch.push(saved);
      bytes += saved.invocation.log_bytes + payloadBytes(saved);
      if (batch.length >= BATCH || bytes >= BATCH_LOG_BYTES) break;
    }
    return batch;
  }

  /** Writes one record, so that one that cannot be stored does not keep the others from being stored. */
  async #writeOne(saved: SavedInvocation): Promise<void> {
    const { history, log, metrics } = this.#deps;
    this.#forget(saved);
    try {
      await history.save([saved]);
    } catch (error) {
      metrics.recordsDropped.inc();
      log.error("record dropped", { request_id: saved.invocation.id, error });
    }
  }

  /** Forgets a state that was written. A newer one of the same invocation stays. */
  #forget(saved: SavedInvocation): void {
    const { id } = saved.invocation;
    if (this.#pending.get(id) === saved) this.#pending.delete(id);
  }

  #dropOldest(): void {
    const oldest = this.#pending.keys().next().value;
    if (oldest === undefined) return;
    this.#pending.delete(oldest);
    this.#deps.metrics.recordsDropped.inc();
  }

  /** Removes a batch of the records that are too old or too many. */
  async #prune(): Promise<void> {
    const { history, clock, log, retention } = this.#deps;
    const { max_age_ms, max_count } = retention;
    let removed = 0;
    try {
      removed = await history.prune({ before: clock.now() - max_age_ms, keep: max_count, batch: PRUNE_BATCH });
    } catch (error) {
      log.warn("old records not removed", { problem: messageOf(error) });
    }
    // If some were removed there may be more: a batch is also limited by the bytes of its payloads.
    if (!this.#isOver) this.#nextPrune.set(removed === 0 ? PRUNE_INTERVAL_MS : PRUNE_PAUSE_MS);
  }
}

function payloadBytes({ payload }: SavedInvocation): number {
  return payload === undefined ? 0 : payload.request.length + (payload.response?.length ?? 0);
}
