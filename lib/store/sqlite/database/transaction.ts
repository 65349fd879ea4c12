import type { Database as Sqlite } from "bun:sqlite";

/** Runs `work` in one write transaction: all of it happens, or nothing. */
export function inTransaction<T>(sqlite: Sqlite, work: () => T): T {
  sqlite.run("begin immediate");
  try {
    const result = work();
    sqlite.run("commit");
    return result;
  } catch (error) {
    // SQLite has rolled back by itself after some errors, a full disk among them.
    if (sqlite.inTransaction) sqlite.run("rollback");
    throw error;
  }
}
