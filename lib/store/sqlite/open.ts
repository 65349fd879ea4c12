import { Database as Sqlite } from "bun:sqlite";
import { accessSync, constants, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../clock.ts";
import type { Logger } from "../../log.ts";
import { Database } from "./database/database.ts";
import { makePrivate, makePrivateFile } from "../../private-files.ts";
import { StoreError } from "../errors.ts";
import { damaged, mapOpenError, notADatabase } from "./errors.ts";
import { LogSync } from "./database/log-sync.ts";
import { requireUnmoved } from "./database/moved.ts";
import { APPLICATION_ID, create, isAsCreated, migrate, MIGRATIONS } from "./migrations/migrations.ts";
import { takeOwnership } from "./owner.ts";
import { isSeed, migrateSeed, SEED_COPY } from "./seed.ts";

/**
 * The log is moved into the database when it has this many pages (8 MiB). That blocks the event loop for some 10 ms, as it
 * does with SQLite's own 1,000: many of the pages are the same one again.
 */
const CHECKPOINT_PAGES = 2_000;

/**
 * Opens the database at `path` (or `:memory:`) as its only owner: creates it if there is none, migrates an older one, takes
 * over one that `go-serverless` wrote. Throws a `StoreError` that names the file and the remedy, and then has changed
 * nothing.
 */
export function openDatabase(path: string, options: { readonly log: Logger; readonly clock: Clock }): Database {
  const inMemory = path === ":memory:";
  let ownership: Disposable | undefined;
  let sqlite: Sqlite | undefined;
  try {
    if (!inMemory) {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      checkFile(path, options.log);
      ownership = takeOwnership(path);
      if (!makePrivateFile(path)) closeToOthers(path, options.log);
    }
    sqlite = new Sqlite(path, { readwrite: true, create: inMemory, strict: true });
    prepareSchema(sqlite, path, options);
    if (!inMemory) requireUnmoved(sqlite, path);
    const mode = sqlite.query<{ journal_mode: string }, []>("pragma journal_mode = wal").get()?.journal_mode;
    if (mode !== "wal" && !inMemory) {
      throw new StoreError(
        `The file system of ${JSON.stringify(path)} has no shared memory: put the database on a local disk`,
      );
    }
    sqlite.run("pragma synchronous = normal; pragma foreign_keys = on; pragma journal_size_limit = 67108864");
    sqlite.run(`pragma wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    const isKnown = isAsCreated(sqlite);
    return new Database(sqlite, {
      isKnown,
      ...(ownership !== undefined && { log: new LogSync(`${path}-wal`), ownership }),
    });
  } catch (error) {
    sqlite?.close();
    ownership?.[Symbol.dispose]();
    throw mapOpenError(error, path);
  }
}

/** Takes the rights of others from a database that was made by an older program, from its log, and from its copies. */
function closeToOthers(path: string, log: Logger): void {
  const files = ["", "-wal", "-shm", "-journal", SEED_COPY].map((suffix) => `${path}${suffix}`);
  const changed = files.filter(makePrivate);
  if (changed.length > 0) log.warn("others could read the database, and no longer can", { files: changed });
}

/**
 * Checks for problems that SQLite would not report, or not so clearly. Call it before SQLite opens the file, since
 * SQLite silently falls back to reading only.
 */
function checkFile(path: string, log: Logger): void {
  const file = statSync(path, { throwIfNoEntry: false });
  accessSync(dirname(path), constants.W_OK);
  if (file === undefined) return;
  const shown = JSON.stringify(path);
  if (!file.isFile()) {
    throw new StoreError(`${shown} is not a file: move it away, or choose another directory with --data-path`);
  }
  accessSync(path, constants.W_OK);
  // SQLite takes a file of one byte for an empty one (because of an old bug of file systems), and would overwrite it.
  if (file.size === 1) throw new StoreError(notADatabase(path));
  if (file.size > 0) return;
  // SQLite takes an empty file for a new database, and deletes a log next to it.
  if (sizeOf(`${path}-wal`) > 0) {
    throw new StoreError(damaged(path, "it is empty, while its write-ahead log is not"));
  }
  log.warn("the database file is empty: beginning with an empty database", { path });
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

function prepareSchema(sqlite: Sqlite, path: string, options: { readonly log: Logger; readonly clock: Clock }): void {
  sqlite.run("pragma busy_timeout = 1000; pragma foreign_keys = off");
  const tables = tablesOf(sqlite);
  checkHealth(sqlite, path, tables);
  const version = numberOf(sqlite, "user_version");
  const application = numberOf(sqlite, "application_id");
  if (application === APPLICATION_ID) {
    if (version > MIGRATIONS.length) {
      throw new StoreError(
        `The database ${JSON.stringify(path)} was written by a newer slipway (schema ${version}, this one knows ${MIGRATIONS.length}): ` +
          "use that version, or restore a backup that this one made",
      );
    }
    if (version < MIGRATIONS.length)
      options.log.info("migrating the database", { path, from: version, to: MIGRATIONS.length });
    migrate(sqlite, version);
    return;
  }
  if (application === 0 && version === 0 && tables.length === 0) {
    // With a write-ahead log, the migrations need no sync of the disk; with a journal each needs three, which is most of a
    // first start. A file that has pages already may be a damaged database, which is left as it is.
    if (numberOf(sqlite, "page_count") === 0) sqlite.run("pragma journal_mode = wal; pragma synchronous = normal");
    return create(sqlite);
  }
  if (application === 0 && version === 0 && isSeed(sqlite)) return migrateSeed(sqlite, path, options);
  throw new StoreError(
    `The file ${JSON.stringify(path)} is a database of another program: move it away, or choose another directory with --data-path`,
  );
}

/** Up to this size the whole file is checked, which takes some 20 ms. */
const CHECK_ALL_BYTES = 32 * 1024 * 1024;

/**
 * Finds damage at the start rather than during a call. In a large file, where the records of invocations are nearly
 * everything, only the tables that every call depends on are checked.
 */
function checkHealth(sqlite: Sqlite, path: string, tables: readonly string[]): void {
  const bytes = numberOf(sqlite, "page_count") * numberOf(sqlite, "page_size");
  // SQLite reads a last page that was cut short as if zeros followed. A log may still have the whole page.
  if (path !== ":memory:" && sizeOf(`${path}-wal`) === 0 && sizeOf(path) < bytes) {
    throw new StoreError(damaged(path, `its last ${bytes - sizeOf(path)} bytes are missing`));
  }
  const vital = tables.filter((table) => ["settings", "functions", "routes"].includes(table));
  const checks = bytes <= CHECK_ALL_BYTES ? ["quick_check(1)"] : vital.map((table) => `quick_check(${table})`);
  for (const check of checks) {
    const found = sqlite.query<Record<string, unknown>, []>(`pragma ${check}`).get();
    const verdict = Object.values(found ?? {})[0];
    if (verdict !== "ok") throw new StoreError(damaged(path, String(verdict).replaceAll("\n", " ").slice(0, 200)));
  }
}

function tablesOf(sqlite: Sqlite): string[] {
  const rows = sqlite.query<{ name: string }, []>("select name from sqlite_schema where type = 'table'").all();
  return rows.map(({ name }) => name).filter((name) => !name.startsWith("sqlite_"));
}

function numberOf(sqlite: Sqlite, pragma: "user_version" | "application_id" | "page_count" | "page_size"): number {
  const row = sqlite.query<Record<string, number>, []>(`pragma ${pragma}`).get();
  return row?.[pragma] ?? 0;
}
