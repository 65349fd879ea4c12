import type { Logger } from "../../../log.ts";
import { StoreError } from "../../errors.ts";
import type { Client } from "../client/client.ts";
import first from "./0001-first.sql" with { type: "text" };
import servers from "./0002-servers.sql" with { type: "text" };
import places from "./0003-places.sql" with { type: "text" };

/** In order; the number of a migration is its place, from 1. */
export const MIGRATIONS: readonly string[] = [first, servers, places];

/** The lock of whoever migrates: "SLIP", as SQLite's application id. */
const LOCK = 0x534c4950;

/**
 * Applies the migrations that a database lacks, all in one transaction. Of several servers that start at once one does it,
 * and the others wait. Throws a `StoreError` if the database was written by a newer version.
 */
export async function migrate(client: Client, log: Logger): Promise<void> {
  const from = await client.transaction(async (statements) => {
    await statements.run("select pg_advisory_xact_lock($lock::bigint)", { lock: LOCK });
    await statements.run("create table if not exists slipway_schema (version integer not null)");
    const found = await statements.get<{ version: number }>("select version from slipway_schema");
    const version = found?.version ?? 0;
    if (version > MIGRATIONS.length) {
      throw new StoreError(
        `The database of DATABASE_URL was written by a newer slipway (schema ${version}, this one knows ${MIGRATIONS.length}): use that version`,
      );
    }
    for (const sql of MIGRATIONS.slice(version)) await statements.script(sql);
    if (found === undefined)
      await statements.run("insert into slipway_schema values ($version)", { version: MIGRATIONS.length });
    else await statements.run("update slipway_schema set version = $version", { version: MIGRATIONS.length });
    return version;
  });
  if (from > 0 && from < MIGRATIONS.length) log.info("migrated the database", { from, to: MIGRATIONS.length });
}
