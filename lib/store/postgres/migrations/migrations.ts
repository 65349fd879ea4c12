import type { Logger } from "../../../log.ts";
import { StoreError } from "../../errors.ts";
import type { Client, Statements, Transaction } from "../client/client.ts";
import { LOCK_KEY } from "../client/schema.ts";
import { isInTheWay } from "../errors.ts";
import { MIGRATIONS as ROWS } from "../../sqlite/migrations/migrations.ts";
import { migrateConfiguration } from "../configuration/row-migration.ts";
import first from "./0001-first.sql" with { type: "text" };
import servers from "./0002-servers.sql" with { type: "text" };
import places from "./0003-places.sql" with { type: "text" };
import engines from "./0004-engines.sql" with { type: "text" };

/** In order; the number of a migration is its place, from 1. */
export const MIGRATIONS: readonly string[] = [first, servers, places, engines];

/**
 * The oldest schema whose servers can go on while the database is as this version leaves it, so that servers can be upgraded one
 * after the other. A migration that breaks a statement of theirs raises it to its own number: they take no work from then on.
 */
const OLDEST = 1;

/** The lock of whoever migrates: "SLIP", as SQLite's application id. */
const LOCK = 0x534c4950;

interface Schema {
  readonly version: number;
  readonly oldest: number;
}

/**
 * The time that a lock is waited for, in milliseconds: all who come later wait behind one who waits for a table. It is
 * tried again after a pause, in which those go on.
 */
const LOCK_WAIT_MS = 1_000;
const PAUSE_MS = 2_000;
/** The time between two lines of the log about a migration that goes on, in milliseconds. */
const NOTE_MS = 15_000;

/** The migrations of the tables, and those of SQLite for the rows of the configuration. */
export interface Migrations {
  readonly tables: readonly string[];
  readonly rows: readonly string[];
}

/**
 * Applies the migrations that a database lacks, all in one transaction, which may take as long as it needs. Of several servers that start at once
 * one does it, and the others wait. The rows of the configuration are migrated by SQLite's migrations. Throws a `StoreError` if a newer version has
 * made the database one that this one cannot use.
 */
export async function migrate(
  client: Client,
  log: Logger,
  migrations: Migrations = { tables: MIGRATIONS, rows: ROWS },
): Promise<void> {
  using progress = new Progress(log);
  for (;;) {
    try {
      const from = await client.longTransaction((statements) => migrateAll(statements, migrations, progress));
      if (from > 0 && from < migrations.tables.length) progress.ends(from, migrations.tables.length);
      return;
    } catch (error) {
      if (!isInTheWay(error)) throw error;
      if (progress.undone()) await Bun.sleep(PAUSE_MS);
    }
  }
}

/** Returns the version that the database had; 0 for an empty one. */
async function migrateAll(statements: Transaction, { tables, rows }: Migrations, progress: Progress): Promise<number> {
  await statements.script(`set local lock_timeout = ${LOCK_WAIT_MS}`);
  await statements.run(`select pg_advisory_xact_lock(${LOCK_KEY})`, { lock: LOCK });
  progress.locked();
  // Most starts change nothing: to alter a table, even in vain, locks it for servers that look at it all the time.
  if ((await statements.get(HAS_SCHEMA)) === undefined) await statements.script(SCHEMA_TABLE);
  const found = await schemaOf(statements);
  const problem = found && problemOf(found);
  if (problem !== undefined) throw new StoreError(problem);
  const version = found?.version ?? 0;
  if (version > 0 && version < tables.length) progress.begins(version, tables.length);
  for (const sql of tables.slice(version)) await statements.script(sql);
  const bindings = { version: tables.length, oldest: OLDEST };
  if (found === undefined)
    await statements.run("insert into slipway_schema values ($version::integer, $oldest::integer)", bindings);
  const raised = "version = greatest(version, $version::integer), oldest = greatest(oldest, $oldest::integer)";
  await statements.run(`update slipway_schema set ${raised}`, bindings);
  await migrateConfiguration(statements, rows);
  return version;
}

const HAS_SCHEMA = `
  select 1 as found from pg_attribute where attname = 'oldest'
    and attrelid = (select oid from pg_class where relname = 'slipway_schema' and relnamespace = current_schema()::regnamespace)`;

const SCHEMA_TABLE = `
  create table if not exists slipway_schema (version integer not null);
  alter table slipway_schema add column if not exists oldest integer not null default 1`;

/** Writes to the log that a migration, or the wait for one, goes on, and for how long. */
class Progress implements Disposable {
  readonly #log: Logger;
  readonly #began = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;
  /** True once this server has the lock. */
  #hasLock = false;
  #hasWaited = false;

  constructor(log: Logger) {
    this.#log = log;
    this.#timer = setInterval(() => this.#goesOn(), NOTE_MS);
  }

  /** Notes that this server has the lock. */
  locked(): void {
    this.#hasLock = true;
  }

  begins(from: number, to: number): void {
    this.#log.info("migrating the database, which may take a while", { from, to });
  }

  ends(from: number, to: number): void {
    this.#log.info("migrated the database", { from, to, ms: this.#ms });
  }

  /** Notes that everything was undone as something was in the way. Returns true if that was no other server that migrates. */
  undone(): boolean {
    const hadLock = this.#hasLock;
    this.#hasLock = false;
    if (hadLock)
      this.#log.warn("another program has a lock that the migration of the database needs", { ms: this.#ms });
    else if (!this.#hasWaited) this.#goesOn();
    this.#hasWaited = true;
    return hadLock;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  get #ms(): number {
    return Math.round(performance.now() - this.#began);
  }

  #goesOn(): void {
    const ms = this.#ms;
    if (this.#hasLock) this.#log.info("the database is still being migrated", { ms });
    else this.#log.info("another server migrates the database, this one waits", { ms });
  }
}

/** Returns why this version cannot use a database any more; undefined if it can, also if a newer one has migrated it. */
export async function schemaProblem(statements: Statements): Promise<string | undefined> {
  const schema = await schemaOf(statements);
  return schema && problemOf(schema);
}

function schemaOf(statements: Statements): Promise<Schema | undefined> {
  return statements.get<Schema>("select version, oldest from slipway_schema");
}

function problemOf({ version, oldest }: Schema): string | undefined {
  if (oldest <= MIGRATIONS.length) return undefined;
  return `The database of DATABASE_URL was written by a newer slipway (schema ${version}, this one knows ${MIGRATIONS.length}): use that version`;
}
