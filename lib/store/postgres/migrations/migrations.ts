import type { Logger } from "../../../log.ts";
import { StoreError } from "../../errors.ts";
import type { Client, Statements } from "../client/client.ts";
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
 * Applies the migrations that a database lacks, all in one transaction. Of several servers that start at once one does it,
 * and the others wait. The rows of the configuration are migrated by SQLite's migrations. Throws a `StoreError` if a newer version has made the database one that this one cannot use.
 */
export async function migrate(client: Client, log: Logger, rows = ROWS): Promise<void> {
  const from = await client.transaction(async (statements) => {
    await statements.run("select pg_advisory_xact_lock($lock::bigint)", { lock: LOCK });
    await statements.run("create table if not exists slipway_schema (version integer not null)");
    await statements.run("alter table slipway_schema add column if not exists oldest integer not null default 1");
    const found = await schemaOf(statements);
    const problem = found && problemOf(found);
    if (problem !== undefined) throw new StoreError(problem);
    const version = found?.version ?? 0;
    for (const sql of MIGRATIONS.slice(version)) await statements.script(sql);
    const bindings = { version: MIGRATIONS.length, oldest: OLDEST };
    if (found === undefined)
      await statements.run("insert into slipway_schema values ($version::integer, $oldest::integer)", bindings);
    const raised = "version = greatest(version, $version::integer), oldest = greatest(oldest, $oldest::integer)";
    await statements.run(`update slipway_schema set ${raised}`, bindings);
    await migrateConfiguration(statements, rows);
    return version;
  });
  if (from > 0 && from < MIGRATIONS.length) log.info("migrated the database", { from, to: MIGRATIONS.length });
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
