import type { Database as Sqlite } from "bun:sqlite";
import { mapRuntimeError } from "../errors.ts";
import type { Sync } from "./log-sync.ts";

/** The most writes of one transaction: some 2 ms of the event loop. The rest wait, so that other tasks have a turn. */
const GROUP = 100;
/** The most bytes of one transaction: some 10 ms of the event loop. A larger write has a transaction of its own. */
const GROUP_BYTES = 8 * 1024 * 1024;

/** A write that waits for its turn. Only its caller knows the type of its result. */
interface Write {
  /** Part of the transaction; an error undoes this write alone. */
  readonly run: () => void;
  /** Called right after the commit. */
  readonly committed: () => void;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Lets durable writes of the same moment share one transaction and one sync of the disk, which is most of the cost of a
 * write. Each has a savepoint, so that one that fails leaves the others alone.
 *
 * A group is collected until the event loop comes round, committed, then synced in another thread. Meanwhile the next group
 * is collected, and everything else goes on, however slow the disk is. So for that moment others can see a write that its
 * writer does not know to be done.
 */
export class GroupCommit {
  readonly #sqlite: Sqlite;
  readonly #log: Sync | undefined;
  readonly #held: () => Promise<void> | undefined;
  readonly #onEpoch: () => void;
  #waiting: Write[] = [];
  /** Committed, and not yet known to be on the disk. */
  #syncing: readonly Write[] = [];
  #busy = false;

  /**
   * Without a log there is nothing to sync: the database is in memory. While `held` returns a promise, another transaction
   * is under way, and groups wait for it. `onEpoch` is called when a transaction begins, and when a part of it is undone.
   */
  constructor(
    sqlite: Sqlite,
    log: Sync | undefined,
    { held, onEpoch }: { readonly held?: () => Promise<void> | undefined; readonly onEpoch?: () => void } = {},
  ) {
    this.#sqlite = sqlite;
    this.#log = log;
    this.#held = held ?? (() => undefined);
    this.#onEpoch = onEpoch ?? (() => undefined);
  }

  /** See `Database.durably`. */
  add<T>(work: () => T, committed?: (result: T) => void, bytes = 0): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let result: { readonly value: T } | undefined;
      this.#waiting.push({
        run: () => (result = { value: work() }),
        committed: () => result && committed?.(result.value),
        bytes,
        resolve: () => result && resolve(result.value),
        reject,
      });
      this.#schedule();
    });
  }

  /** Writes everything that waits and answers everyone, now: before the database is closed. */
  flush(): void {
    const written = [...this.#syncing];
    while (this.#waiting.length > 0) written.push(...this.#commit());
    if (written.length === 0) return;
    try {
      this.#log?.syncNow();
      for (const write of written) write.resolve();
    } catch (error) {
      for (const write of written) write.reject(mapRuntimeError(error));
    }
  }

  #schedule(): void {
    if (this.#busy) return;
    this.#busy = true;
    // After all requests that have arrived by now.
    setImmediate(() => void this.#turn());
  }

  async #turn(): Promise<void> {
    for (let held = this.#held(); held !== undefined; held = this.#held()) await held;
    const written = this.#commit();
    this.#syncing = written;
    try {
      if (written.length > 0) await this.#log?.sync();
      for (const write of written) write.resolve();
    } catch (error) {
      for (const write of written) write.reject(mapRuntimeError(error));
    }
    this.#syncing = [];
    this.#busy = false;
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** Commits the next group and rejects the writes that failed; returns the others. */
  #commit(): Write[] {
    const group = this.#waiting.slice(0, this.#groupSize());
    this.#waiting = this.#waiting.slice(group.length);
    const failures = new Map<Write, unknown>();
    this.#onEpoch();
    try {
      inTransaction(this.#sqlite, () => {
        for (const write of group) this.#attempt(write, failures);
      });
    } catch (error) {
      for (const write of group) if (!failures.has(write)) failures.set(write, error);
    }
    for (const [write, error] of failures) write.reject(mapRuntimeError(error));
    const written = group.filter((write) => !failures.has(write));
    for (const write of written) write.committed();
    return written;
  }

  /** Returns how many of the writes that wait go into the next transaction: one at least. */
  #groupSize(): number {
    let bytes = 0;
    let size = 0;
    for (const write of this.#waiting) {
      bytes += write.bytes;
      if (size > 0 && bytes > GROUP_BYTES) break;
      if (++size === GROUP) break;
    }
    return size;
  }

  /** Throws only if the transaction as a whole is lost. */
  #attempt(write: Write, failures: Map<Write, unknown>): void {
    const sqlite = this.#sqlite;
    sqlite.query("savepoint write").run();
    try {
      write.run();
    } catch (error) {
      // After some errors, a full disk among them, SQLite has rolled everything back by itself.
      if (!sqlite.inTransaction) throw error;
      sqlite.run("rollback to write");
      this.#onEpoch();
      failures.set(write, error);
    }
    sqlite.query("release write").run();
  }
}

/** Runs `work` in one write transaction: all of it happens, or nothing. */
export function inTransaction<T>(sqlite: Sqlite, work: () => T): T {
  // `query` keeps what it has prepared; `run` would parse it at every call.
  sqlite.query("begin immediate").run();
  try {
    const result = work();
    sqlite.query("commit").run();
    return result;
  } catch (error) {
    // SQLite has rolled back by itself after some errors, a full disk among them.
    if (sqlite.inTransaction) sqlite.run("rollback");
    throw error;
  }
}
