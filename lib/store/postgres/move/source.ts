import { Database as Sqlite } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { StoreError } from "../../errors.ts";
import { mapOpenError } from "../../sqlite/errors.ts";
import { APPLICATION_ID, MIGRATIONS } from "../../sqlite/migrations/migrations.ts";
import { takeOwnership } from "../../sqlite/owner.ts";

/** A database of SQLite that no server uses, nor can use until it is disposed of. */
export interface Source extends Disposable {
  readonly sqlite: Sqlite;
}

/** Opens the database of a stopped server as it is: nothing of it is migrated. Throws a `StoreError`. */
export function openSource(path: string): Source {
  const shown = JSON.stringify(path);
  if (!existsSync(path)) {
    throw new StoreError(`There is no database ${shown}: name the directory of the server's data with --data-path`);
  }
  let ownership: Disposable | undefined;
  let sqlite: Sqlite | undefined;
  try {
    if (statSync(path).size === 0) throw new StoreError(`The database ${shown} is empty: there is nothing to move`);
    ownership = takeOwnership(path);
    // Not read-only: it is marked at the end, and reading a write-ahead log needs its index.
    sqlite = new Sqlite(path, { readwrite: true, create: false, strict: true });
    sqlite.run("pragma busy_timeout = 5000");
    requireThisVersion(sqlite, shown);
    const [database, lock] = [sqlite, ownership];
    return {
      sqlite: database,
      [Symbol.dispose]: () => {
        database.close();
        lock[Symbol.dispose]();
      },
    };
  } catch (error) {
    sqlite?.close();
    ownership?.[Symbol.dispose]();
    throw mapOpenError(error, path);
  }
}

function requireThisVersion(sqlite: Sqlite, shown: string): void {
  const numberOf = (pragma: string) =>
    sqlite.query<Record<string, number>, []>(`pragma ${pragma}`).get()?.[pragma] ?? 0;
  const version = numberOf("user_version");
  if (numberOf("application_id") === APPLICATION_ID && version === MIGRATIONS.length) return;
  throw new StoreError(
    version > MIGRATIONS.length
      ? `The database ${shown} was written by a newer slipway (schema ${version}, this one knows ${MIGRATIONS.length}): move it with that version`
      : `The database ${shown} was written by an older program: start this version's server on it once, stop it, and try again`,
  );
}
