import type { Database as Sqlite, Statement } from "bun:sqlite";
import { AppError } from "../../../domain/errors.ts";
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

/** The part of a sync that took longer than expected by which the next one is expected to take longer. */
const SLOWER = 0.05;

/**
 * Lets durable writes of the same moment share one transaction and one sync of the disk, which is most of the cost of a
 * write. Each has a savepoint, so that one that fails leaves the others alone.
 *
 * A group is collected until the event loop comes round, or for as long as a sync takes, if that is sooner: then the disk works
 * while the rest of a burst is read, and not only afterwards. It is committed, then synced in another thread. Meanwhile the next
 * group is collected, and everything else goes on, however slow the disk is. So for that moment others can see a write that its
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
  /** A group is being committed or synced. */
  #busy = false;
  /** The turn of the next group is due when the event loop comes round. */
  #due = false;
  /** The time at which the first of the waiting writes came, by `performance.now`. */
  #since = 0;
  /** The time that a sync is expected to take, in milliseconds; at first none is, so that the first groups are not cut. */
  #syncMs = Infinity;
  readonly #statements: TransactionStatements;
  /** The refusal of every write since a sync has failed. */
  #broken: AppError | undefined;

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
    this.#statements = statementsOf(sqlite);
  }

  /** See `Database.durably`. */
  add<T>(work: () => T, committed?: (result: T) => void, bytes = 0): Promise<T> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise<T>((resolve, reject) => {
      let result: { readonly value: T } | undefined;
      if (this.#waiting.length === 0) this.#since = performance.now();
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
    this.#refuseIfBroken();
    const written = [...this.#syncing];
    while (this.#waiting.length > 0) written.push(...this.#commit());
    if (written.length === 0) return;
    try {
      this.#log?.syncNow();
      for (const write of written) write.resolve();
    } catch (error) {
      this.break(error);
      for (const write of written) write.reject(mapRuntimeError(error));
    }
  }

  /** The reason why nothing can be written any more, if there is one. */
  get broken(): AppError | undefined {
    return this.#broken;
  }

  /**
   * Refuses all writes from now on: a sync has failed. The system may take pages that it could not write for written, so that
   * the next sync succeeds without them; and what comes after them in the log is lost with them when the machine loses power.
   * A restart reads the log anew, with its checksums.
   */
  break(error: unknown): void {
    this.#broken ??= new AppError(
      "shutting_down",
      "Nothing can be written any more: the disk has not confirmed an earlier write. Check the disk, then restart the server",
      { cause: error },
    );
  }

  #refuseIfBroken(): void {
    const broken = this.#broken;
    if (broken === undefined) return;
    for (const write of this.#waiting.splice(0)) write.reject(broken);
  }

  #schedule(): void {
    if (this.#busy) return;
    if (!this.#due) {
      this.#due = true;
      // After all requests that have arrived by now.
      setImmediate(() => void this.#turn());
    }
    if (performance.now() - this.#since < this.#syncMs) return;
    this.#busy = true;
    // Not at once: the writer has its promise first.
    queueMicrotask(() => void this.#commitAndSync());
  }

  async #turn(): Promise<void> {
    this.#due = false;
    if (this.#busy || this.#waiting.length === 0) return;
    this.#busy = true;
    await this.#commitAndSync();
  }

  async #commitAndSync(): Promise<void> {
    for (let held = this.#held(); held !== undefined; held = this.#held()) await held;
    this.#refuseIfBroken();
    // A flush may have come before.
    const written = this.#waiting.length > 0 ? this.#commit() : [];
    this.#syncing = written;
    try {
      if (written.length > 0) await this.#sync();
      for (const write of written) write.resolve();
    } catch (error) {
      this.break(error);
      for (const write of written) write.reject(mapRuntimeError(error));
    }
    this.#syncing = [];
    this.#busy = false;
    if (this.#waiting.length > 0) this.#schedule();
  }

  async #sync(): Promise<void> {
    if (this.#log === undefined) return;
    const began = performance.now();
    await this.#log.sync();
    const took = performance.now() - began;
    // The event loop may have been busy when it was over: what it takes is seen when that was not so.
    this.#syncMs = took < this.#syncMs ? took : this.#syncMs + (took - this.#syncMs) * SLOWER;
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
    this.#statements.savepoint.run();
    try {
      write.run();
    } catch (error) {
      // After some errors, a full disk among them, SQLite has rolled everything back by itself.
      if (!sqlite.inTransaction) throw error;
      sqlite.run("rollback to write");
      this.#onEpoch();
      failures.set(write, error);
    }
    this.#statements.release.run();
  }
}

/** Runs `work` in one write transaction: all of it happens, or nothing. */
export function inTransaction<T>(sqlite: Sqlite, work: () => T): T {
  const { begin, commit } = statementsOf(sqlite);
  begin.run();
  try {
    const result = work();
    commit.run();
    return result;
  } catch (error) {
    // SQLite has rolled back by itself after some errors, a full disk among them.
    if (sqlite.inTransaction) sqlite.run("rollback");
    throw error;
  }
}

interface TransactionStatements {
  readonly begin: Statement;
  readonly commit: Statement;
  readonly savepoint: Statement;
  readonly release: Statement;
}

const prepared = new WeakMap<Sqlite, TransactionStatements>();

/** Prepares the statements of transactions once for each connection: `query` remembers no more than the first twenty of all. */
function statementsOf(sqlite: Sqlite): TransactionStatements {
  const known = prepared.get(sqlite);
  if (known !== undefined) return known;
  const statements = {
    begin: sqlite.query("begin immediate"),
    commit: sqlite.query("commit"),
    savepoint: sqlite.query("savepoint write"),
    release: sqlite.query("release write"),
  };
  prepared.set(sqlite, statements);
  return statements;
}
