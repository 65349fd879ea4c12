import type { Logger } from "../../../log.ts";
import { StoreError } from "../../errors.ts";
import { Client, type Statements, type Transaction } from "../client/client.ts";
import { openProblem } from "../errors.ts";
import { openClient } from "../open.ts";
import { COUNTING, VERSION } from "./tables.ts";

/** The row of the shared settings that names the move that has filled the database. */
const MOVED_FROM = "moved_from";

/** The tables that have rows in an empty database, too. */
const BOOKKEEPING: ReadonlySet<string> = new Set([
  "slipway_schema",
  "configuration_state",
  "payload_totals",
  "figures_sizes",
]);

/** Returns the URL of a database as it may be shown, with the schema that it names: without user and password. */
export function shownUrl(url: string): string {
  const { hostname, port, pathname, searchParams } = new URL(url);
  const schema = searchParams.get("search_path");
  return `${hostname}${port === "" ? "" : `:${port}`}${pathname}${schema === null ? "" : `?search_path=${schema}`}`;
}

/** Connects to the database at a URL and makes our tables in it if it is empty. Throws a `StoreError`. */
export async function openTarget(url: string, log: Logger): Promise<Client> {
  {
    await using client = new Client(url, { connections: 1 });
    await requireOurs(client).catch((error: unknown) => {
      throw error instanceof StoreError ? error : new StoreError(openProblem(error), { cause: error });
    });
  }
  return openClient(url, log);
}

/** Throws if there are tables and none of them is ours: a mistyped name must not put ours among them. */
async function requireOurs(client: Client): Promise<void> {
  const tables = await tablesOf(client);
  if (tables.length === 0 || tables.includes("slipway_schema")) return;
  throw new StoreError(
    `The database of DATABASE_URL has tables of another program (${JSON.stringify(tables[0])}): create an empty one for slipway`,
  );
}

/** Returns the id of the move that has filled the database; undefined if none has. */
export async function filledBy(statements: Statements): Promise<string | undefined> {
  const sql = "select record from configuration where owner = '' and kind = 'settings' and id = $id";
  const row = await statements.get<{ record: string }>(sql, { id: MOVED_FROM });
  return row && (JSON.parse(row.record) as { value: string }).value; // `end` wrote it
}

/** Part of the move: keeps servers out until its end. Throws a `StoreError` if there is anything in the database. */
export async function begin(transaction: Transaction): Promise<void> {
  await transaction.run("select 1 from configuration_state where id = 1 for update");
  for (const table of await tablesOf(transaction)) {
    if (BOOKKEEPING.has(table)) continue;
    if ((await transaction.get(`select 1 as found from "${table}" limit 1`)) === undefined) continue;
    throw new StoreError(
      `The database of DATABASE_URL is not empty (there are rows in ${JSON.stringify(table)}): stop the servers that use it, and create an empty one`,
    );
  }
  for (const table of COUNTING) await transaction.run(`alter table ${table} disable trigger user`);
}

/** Part of the move: counts what was written, and makes it visible to servers. */
export async function end(transaction: Transaction, id: string): Promise<void> {
  for (const table of COUNTING) await transaction.run(`alter table ${table} enable trigger user`);
  await transaction.run(
    `update payload_totals set settled_bytes = (select coalesce(sum(bytes), 0) from payloads where settled_at is not null),
       bytes = (select coalesce(sum(bytes), 0) from payloads) + (select coalesce(sum(bytes), 0) from stored_answers)
     where shard = 0`,
  );
  await transaction.run(
    "select setval(pg_get_serial_sequence('audit', 'id'), max(id)) from audit having max(id) is not null",
  );
  await transaction.run(
    `insert into configuration (owner, kind, id, version, record) values ('', 'settings', $id, ${VERSION}, $record)`,
    { id: MOVED_FROM, record: JSON.stringify({ key: MOVED_FROM, value: id }) },
  );
  await transaction.run(`update configuration_state set version = ${VERSION}`);
}

async function tablesOf(statements: Statements): Promise<string[]> {
  const rows = await statements.all<{ name: string }>(
    `select relname::text as name from pg_class where relnamespace = current_schema()::regnamespace
       and relkind in ('r', 'p') order by relname`,
  );
  return rows.map(({ name }) => name);
}
