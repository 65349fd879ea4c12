import { Database as Sqlite } from "bun:sqlite";
import { Slices } from "../../../domain/concurrency.ts";
import { AppError } from "../../../domain/errors.ts";

/** A part of a transaction. */
export type Step = () => void;

/**
 * One write transaction of thousands of steps, made in slices between which the event loop has its turn. It has a connection
 * of its own, so readers of the other one see the state before it until it is committed. Nobody else may write meanwhile.
 */
export class LongTransaction implements Disposable {
  /** The connection that its statements are for. */
  readonly sqlite: Sqlite;
  #isOver = false;

  /** Opens a connection to the database at `path`. */
  constructor(path: string) {
    this.sqlite = new Sqlite(path, { readwrite: true, create: false, strict: true });
    // The next short transaction moves the log into the database: the commit of a long one takes long enough.
    this.sqlite.run(
      "pragma busy_timeout = 1000; pragma synchronous = normal; pragma foreign_keys = on; pragma wal_autocheckpoint = 0",
    );
  }

  /** Runs the steps, and `check` before them. The transaction is open until `commit` or the disposal. */
  async run(steps: readonly Step[], check: () => void): Promise<void> {
    this.sqlite.run("begin immediate");
    check();
    const slices = new Slices();
    for (const step of steps) {
      step();
      if (slices.over) await slices.next();
      if (this.#isOver)
        throw new AppError("shutting_down", "The server stopped before everything was written: nothing was");
    }
  }

  commit(): void {
    this.sqlite.run("commit");
  }

  /** Undoes what is not committed, and closes the connection. */
  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.sqlite.inTransaction) this.sqlite.run("rollback");
    this.sqlite.close();
  }
}
