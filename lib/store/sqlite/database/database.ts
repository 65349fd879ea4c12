import type { Database as Sqlite, SQLQueryBindings } from "bun:sqlite";
import { Cache } from "./cache.ts";
import { mapRuntimeError } from "../errors.ts";
import { GroupCommit } from "./group-commit.ts";
import type { Sync } from "./log-sync.ts";
import { inTransaction } from "../migrations/migrations.ts";

/**
 * How much a committed transaction survives. Both survive the death of the process. `fast` ones may be lost when
 * the machine loses power (never half of one, and the database stays whole); `durable` ones are on the disk.
 */
export type Durability = "fast" | "durable";

/** Values for the named parameters (`$id`) of a statement. */
export type Bindings = Readonly<Record<string, string | number | Uint8Array | null>>;

/** A prepared statement whose errors are ours. */
export interface Statement<Row> {
  get(bindings?: Bindings): Row | undefined;
  all(bindings?: Bindings): Row[];
  /** Returns how many rows it changed, those of cascades not among them. */
  run(bindings?: Bindings): number;
}

/**
 * An open SQLite database, and what makes it ours alone. A statement takes microseconds, so all of them are synchronous;
 * only for the disk (`durably`) there is something to wait for.
 */
export class Database implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #durable: GroupCommit;
  /** Released when it is closed, in this order. */
  readonly #owned: readonly (Disposable | undefined)[];

  /** `log` syncs its write-ahead log; a database in memory has none, and no owner. */
  constructor(sqlite: Sqlite, { log, ownership }: { readonly log?: Sync; readonly ownership?: Disposable }) {
    this.#sqlite = sqlite;
    this.#durable = new GroupCommit(sqlite, log);
    this.#owned = [log, ownership];
  }

  /** Prepares a statement. `Row` is what the caller knows of its columns; STRICT tables hold it to that. */
  prepare<Row = unknown>(sql: string): Statement<Row> {
    const statement = this.#sqlite.query<Row, SQLQueryBindings[]>(sql);
    const bound = <T>(run: (bindings: SQLQueryBindings[]) => T, bindings?: Bindings): T => {
      try {
        return run(bindings === undefined ? [] : [bindings]);
      } catch (error) {
        throw mapRuntimeError(error);
      }
    };
    return {
      get: (bindings) => bound((all) => statement.get(...all), bindings) ?? undefined,
      all: (bindings) => bound((all) => statement.all(...all), bindings),
      run: (bindings) => bound((all) => statement.run(...all).changes, bindings),
    };
  }

  /**
   * Runs `work` in one write transaction: all of it happens, or nothing. `work` must not await: the transaction
   * would be committed at the first one. Throws `storage_full` where the disk has no room.
   *
   * A `durable` one has a sync of the disk to itself, and nothing else happens until it is done: it is for the start of
   * the server. Requests use `durably`.
   */
  transaction<T>(durability: Durability, work: () => T): T {
    // In WAL mode, NORMAL leaves the log unsynced until the next checkpoint; FULL syncs it at each commit, with
    // all that was written before. It is a property of the connection.
    const durable = durability === "durable";
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
   * Like a durable transaction, but what is asked for at the same moment shares one sync of the disk, and nobody is
   * held up by it. Settles when `work` is on the disk, or undone; in the order of the calls. A write that throws fails
   * alone, a commit that fails fails them all. (A sync that fails, too; but then nobody knows what the disk has.)
   *
   * `work` runs later, and sees what those before it have written: what a change depends on must be read in it. It must
   * not await. `committed` runs right after the commit, before any other code can look: this is where caches are told.
   */
  durably<T>(work: () => T, committed?: (result: T) => void): Promise<T> {
    return this.#durable.add(work, committed);
  }

  /** A cache of what is read here. */
  cache<V extends object>(): Cache<V> {
    return new Cache(() => this.#sqlite.inTransaction);
  }

  /** Whether the database can be read; throws what SQLite says where it cannot. */
  check(): void {
    this.prepare("select count(*) from settings").get();
  }

  /** Writes what waits, then closes. */
  [Symbol.dispose](): void {
    this.#durable.flush();
    this.#sqlite.close();
    for (const owned of this.#owned) owned?.[Symbol.dispose]();
  }
}
