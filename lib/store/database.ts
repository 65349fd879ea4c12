import type { Database as Sqlite, SQLQueryBindings } from "bun:sqlite";
import { mapRuntimeError } from "./errors.ts";
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

/** An open SQLite database, and what makes it ours alone. Everything is synchronous: a statement takes microseconds. */
export class Database implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #ownership: Disposable | undefined;

  constructor(sqlite: Sqlite, ownership: Disposable | undefined) {
    this.#sqlite = sqlite;
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
   */
  transaction<T>(durability: Durability, work: () => T): T {
    // In WAL mode, NORMAL leaves the log unsynced until the next checkpoint; FULL syncs it at each commit, with
    // all that was written before. It is a property of the connection, and costs 0.3 ms in place of 0.03.
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

  /** Whether the database can be read; throws what SQLite says where it cannot. */
  check(): void {
    this.prepare("select count(*) from settings").get();
  }

  [Symbol.dispose](): void {
    this.#sqlite.close();
    this.#ownership?.[Symbol.dispose]();
  }
}
