import type { Database as Sqlite, SQLQueryBindings } from "bun:sqlite";
import { Cache } from "./cache.ts";
import { mapRuntimeError } from "../errors.ts";
import { GroupCommit, inTransaction } from "./group-commit.ts";
import type { Sync } from "./log-sync.ts";
import { LongTransaction, type Step } from "./long-transaction.ts";

/**
 * The durability of a committed transaction. Both kinds survive the death of the process. A `fast` one may be lost when
 * the machine loses power (never half of it, and the database stays whole); a `durable` one is on the disk.
 */
export type Durability = "fast" | "durable";

/** Values for the named parameters (`$id`) of a statement. */
export type Bindings = Readonly<Record<string, string | number | Uint8Array | null>>;

/** A prepared statement whose errors are mapped to ours. */
export interface Statement<Row> {
  get(bindings?: Bindings): Row | undefined;
  all(bindings?: Bindings): Row[];
  /** Runs it and returns the number of rows that it changed, without those of cascades. */
  run(bindings?: Bindings): number;
}

/**
 * An open SQLite database, with the lock that makes it ours alone. A statement takes microseconds, so all of them are
 * synchronous; only the disk (`durably`) is worth waiting for.
 */
export class Database implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #durable: GroupCommit;
  #epoch = 0;
  readonly #log: Sync | undefined;
  /** The transaction in slices that is under way, and its end. */
  #long: { readonly transaction: LongTransaction; readonly ended: Promise<void> } | undefined;
  /** Released in this order when the database is closed. */
  readonly #owned: readonly (Disposable | undefined)[];
  readonly #isKnown: boolean;

  /** `log` syncs its write-ahead log; a database in memory has none, and no owner. `isKnown` if its schema is ours to the letter. */
  constructor(
    sqlite: Sqlite,
    {
      log,
      ownership,
      isKnown = false,
    }: { readonly log?: Sync; readonly ownership?: Disposable; readonly isKnown?: boolean },
  ) {
    this.#sqlite = sqlite;
    this.#log = log;
    this.#isKnown = isKnown;
    this.#durable = new GroupCommit(sqlite, log, { held: () => this.#long?.ended, onEpoch: () => this.#epoch++ });
    this.#owned = [log, ownership];
  }

  /**
   * Prepares a statement. `Row` is the type that the caller knows its rows to have; STRICT tables guarantee it. If the schema is
   * known, that waits for its first use: to prepare all of them would delay the start, which uses few.
   */
  prepare<Row = unknown>(sql: string): Statement<Row> {
    const prepared = () => this.#sqlite.query<Row, SQLQueryBindings[]>(sql);
    let found = this.#isKnown ? undefined : prepared();
    const statement = () => (found ??= prepared());
    const bound = <T>(run: (bindings: SQLQueryBindings[]) => T, bindings?: Bindings): T => {
      try {
        return run(bindings === undefined ? [] : [bindings]);
      } catch (error) {
        throw mapRuntimeError(error);
      }
    };
    return {
      get: (bindings) => bound((all) => statement().get(...all), bindings) ?? undefined,
      all: (bindings) => bound((all) => statement().all(...all), bindings),
      run: (bindings) => bound((all) => statement().run(...all).changes, bindings),
    };
  }

  /**
   * Runs `work` in one write transaction: all of it happens, or nothing. `work` must not await: the transaction would be
   * committed at the first `await`. Throws `storage_full` if the disk has no room.
   *
   * A `durable` one syncs the disk by itself, and blocks everything else until that is done. Requests use `durably`.
   */
  transaction<T>(durability: Durability, work: () => T): T {
    // In WAL mode, NORMAL leaves the log unsynced until the next checkpoint; FULL syncs it at each commit, with
    // all that was written before. It is a property of the connection.
    const durable = durability === "durable";
    this.#epoch++;
    try {
      if (durable) this.#sqlite.run("pragma synchronous = full");
      return inTransaction(this.#sqlite, work);
    } catch (error) {
      throw mapRuntimeError(error);
    } finally {
      if (durable) this.#sqlite.run("pragma synchronous = normal");
    }
  }

  /**
   * Like a durable transaction, but writes of the same moment share one sync of the disk, which blocks nothing else.
   * Settles when `work` is on the disk, or undone; in the order of the calls. A write that throws fails alone; a commit
   * that fails fails all writes in it. So does a sync that fails; but then it is unknown what is on the disk, and all later ones are
   * refused.
   *
   * `work` runs later, and sees the writes before it: everything that a change depends on must be read in it. It must not
   * await. `committed` runs right after the commit, before any other code can look: caches are updated there. `bytes` is
   * about what it writes, if that is much.
   */
  durably<T>(work: () => T, committed?: (result: T) => void, bytes = 0): Promise<T> {
    return this.#durable.add(work, committed, bytes);
  }

  /** A number that changes with each transaction, and when a part of one is undone. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Like `transaction`, after the transaction in slices that may be under way. Anything outside of the start uses this. */
  async fast<T>(work: () => T): Promise<T> {
    while (this.#long !== undefined) await this.#long.ended;
    return this.transaction("fast", work);
  }

  /** True if it can have transactions in slices: a database in memory has one connection only. */
  get canSlice(): boolean {
    return this.#log !== undefined;
  }

  /**
   * Like `durably` for a write of thousands of rows, which would stop the event loop: it is made in slices on a connection of
   * its own. Readers see none of it before the commit; other writes wait. `stepsOn` prepares the steps, for the connection
   * that it is given. `check` is called before them. A `rehearsal` is undone.
   */
  async inSlices(
    stepsOn: (connection: Database) => Promise<readonly Step[]>,
    options: { readonly check: () => void; readonly committed: () => void; readonly rehearsal: boolean },
  ): Promise<void> {
    using transaction = new LongTransaction(this.#sqlite.filename);
    const steps = await stepsOn(new Database(transaction.sqlite, {}));
    while (this.#long !== undefined) await this.#long.ended;
    if (this.#durable.broken !== undefined) throw this.#durable.broken;
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    this.#long = { transaction, ended };
    try {
      await transaction.run(steps, options.check);
      if (options.rehearsal) return;
      transaction.commit();
      options.committed();
    } catch (error) {
      throw mapRuntimeError(error);
    } finally {
      // Before others write: it may have to be undone.
      transaction[Symbol.dispose]();
      this.#long = undefined;
      end();
    }
    try {
      await this.#log?.sync();
    } catch (error) {
      this.#durable.break(error);
      throw mapRuntimeError(error);
    }
  }

  /** Creates a cache of records that are read here. */
  cache<V extends object>(): Cache<V> {
    return new Cache(() => this.#sqlite.inTransaction);
  }

  /** Throws the error of SQLite if the database cannot be read, and the refusal of writes if there is one. */
  check(): void {
    if (this.#durable.broken !== undefined) throw this.#durable.broken;
    this.prepare("select count(*) from settings").get();
  }

  /** Writes everything that waits, then closes. */
  [Symbol.dispose](): void {
    this.#long?.transaction[Symbol.dispose]();
    this.#durable.flush();
    this.#sqlite.close();
    for (const owned of this.#owned) owned?.[Symbol.dispose]();
  }
}
