import { Database as Sqlite } from "bun:sqlite";
import { codeOf } from "../../domain/errors.ts";
import { makePrivate, makePrivateFile } from "../../private-files.ts";
import { StoreError } from "../errors.ts";

/**
 * Makes this process the only one that serves the database at `path`, until the result is disposed of. Throws a
 * `StoreError` if there is another.
 *
 * The lock is an exclusive transaction, never ended, on an empty side database: the kernel frees it however the process
 * dies, kill -9 included, and it works between containers that share a volume. It is not on the database itself, so that
 * `slipway backup` and the sqlite3 tool can read that.
 */
export function takeOwnership(path: string): Disposable {
  const file = `${path}-owner`;
  // Before it is opened: SQLite gives its journal the same rights.
  if (!makePrivateFile(file)) makePrivate(file);
  const side = new Sqlite(file, { readwrite: true, create: true });
  try {
    side.run("pragma busy_timeout = 0; begin exclusive");
  } catch (error) {
    side.close();
    if (codeOf(error) !== "SQLITE_BUSY") throw error;
    throw new StoreError(
      `Another slipway uses the database ${JSON.stringify(path)}: stop that one, or choose another directory with --data-path`,
      { cause: error },
    );
  }
  // The returned object holds the connection: if it were collected, it would be closed, and the lock gone.
  return { [Symbol.dispose]: () => side.close() };
}
