import type { Database as Sqlite, SQLQueryBindings } from "bun:sqlite";
import { Cache } from "./cache.ts";
import { mapRuntimeError } from "./errors.ts";
import { GroupCommit, synced } from "./group-commit.ts";
import { inTransaction } from "./migrations.ts";

/**
 * How much a committed transaction survives. Both survive the death of the process. `fast` ones may be lost when
 * the machine loses power (never half of one, and the database stays whole); `durable` ones are on the disk.
 */
export type Durability = "fast" | "durable";

/** Values for the named parameters (`$id`) of a statement. */
export type Bindings = Readonly<Record<string, string | number | null>>;

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
  readonly #ownership: Disposable | undefined;
  readonly #durable: GroupCommit;

  constructor(sqlite: Sqlite, ownership: Disposable | undefined) {
    this.#sqlite = sqlite;
    this.#durable = new GroupCommit(sqlite);
    this.#ownership = ownership;
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
   * A `durable` one has a sync of the disk to itself, which takes 0.2 ms and more while nothing else happens: it is
   * for the start of the server. Requests use `durably`.
   */
  transaction<T>(durability: Durability, work: () => T): T {
    const transact = () => inTransaction(this.#sqlite, work);
    try {
      return durability === "durable" ? synced(this.#sqlite, transact) : transact();
    } catch (error) {
      throw mapRuntimeError(error);
    }
  }

  /**
   * Like a durable transaction, but what is asked for at the same moment shares one sync of the disk; settles when
   * `work` is on the disk, or undone. In the order of the calls; a write that throws fails alone, a commit that fails
   * fails them all.
   *
   * `work` runs later, and sees what those before it have written: what a change depends on must be read in it.
   * `committed` runs once the result is on the disk, before any other code can look: this is where caches are told.
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
    this.#ownership?.[Symbol.dispose]();
  }
}
