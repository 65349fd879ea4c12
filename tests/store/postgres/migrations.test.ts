import { join } from "node:path";
import { SQL } from "bun";
import { expect, test } from "bun:test";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { migrate, MIGRATIONS } from "../../../lib/store/postgres/migrations/migrations.ts";
import { MIGRATIONS as ROWS } from "../../../lib/store/sqlite/migrations/migrations.ts";
import { eventually } from "../../support/pace.ts";
import { DatabaseLink } from "../../support/postgres/database-link.ts";
import { type Database, newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog } from "../sqlite/support/stores.ts";

/** A migration that goes on until the table `go` has a row. */
const UNTIL_TOLD = `
  create table half_way (a integer);
  do $$ begin while not exists (select from go) loop perform pg_sleep(0.02); end loop; end $$;
  create table done as select 1 as one;`;

const STATE = `
  select (select count(*) from pg_class where relname in ('half_way', 'done'))::integer as tables,
    (select version from slipway_schema) as version`;

/** Returns a database of this version, with an empty table `go`. */
async function migrated(): Promise<Database> {
  const database = await newDatabase();
  await using client = new Client(database.url, { connections: 1 });
  await migrate(client, listeningLog().log);
  await database.run("create table go (a integer)");
  return database;
}

/** Migrates a database as a version with some migrations more does; `events` is its log. */
function upgrade({ url }: Pick<Database, "url">, more: readonly string[], deadline_ms = 10_000) {
  const { log, events } = listeningLog();
  const ended = (async () => {
    await using client = new Client(url, { connections: 1, deadline_ms });
    await migrate(client, log, { tables: [...MIGRATIONS, ...more], rows: ROWS });
  })();
  ended.catch(() => undefined);
  const isLogged = (event: string) => eventually(() => events.some((one) => String(one["event"]).includes(event)));
  return { ended, events, isLogged };
}

test("a migration may take longer than any other transaction, its log says so, and other servers wait for it", async () => {
  const database = await migrated();
  const first = upgrade(database, [UNTIL_TOLD], 100);
  expect(await first.isLogged("migrating the database")).toBe(true);
  const second = upgrade(database, [UNTIL_TOLD]);
  expect(await second.isLogged("another server migrates the database, this one waits")).toBe(true);
  // Servers that run look at it all the time.
  await database.run("select from slipway_schema; insert into go values (1)");
  await Promise.all([first.ended, second.ended]);
  const to = MIGRATIONS.length + 1;
  expect(first.events).toContainEqual(
    expect.objectContaining({ event: "migrated the database", from: to - 1, to, ms: expect.any(Number) }),
  );
  expect(second.events.map(({ event }) => event)).not.toContain("migrated the database");
  await using client = new Client(database.url, { connections: 1 });
  expect(await client.all(STATE)).toEqual([{ tables: 2, version: to }]);
});

test("statements of a migration have no limits of sessions", async () => {
  const database = await migrated();
  const names = ["statement_timeout", "client_connection_check_interval"];
  const settings = names.map((name) => `current_setting('${name}') as ${name}`).join();
  await upgrade(database, [`create table settings as select ${settings}`]).ended;
  await using client = new Client(database.url, { connections: 1 });
  expect(await client.all("select * from settings")).toEqual([
    { statement_timeout: "0", client_connection_check_interval: "1s" },
  ]);
});

test("a migration whose server is killed half-way is undone, and the next server makes it", async () => {
  const database = await migrated();
  await using killed = Bun.spawn(
    [process.execPath, join(import.meta.dir, "support/migrator.ts"), database.url, UNTIL_TOLD],
    {
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  for await (const chunk of killed.stderr) if (Buffer.from(chunk).includes("migrating the database")) break;
  killed.kill("SIGKILL");
  await killed.exited;
  const next = upgrade(database, [UNTIL_TOLD]);
  // It has the lock, as the other one's session has ended.
  expect(await next.isLogged("migrating the database")).toBe(true);
  await using client = new Client(database.url, { connections: 1 });
  expect(await client.all(STATE)).toEqual([{ tables: 0, version: MIGRATIONS.length }]);
  await database.run("insert into go values (1)");
  await next.ended;
  expect(await client.all(STATE)).toEqual([{ tables: 2, version: MIGRATIONS.length + 1 }]);
});

test("a migration waits for a lock of another program, and lets those go on who need the same table", async () => {
  const database = await migrated();
  await using other = new SQL(database.url, { max: 1 });
  await using reader = await other.reserve();
  await reader.unsafe("begin; select from invocations");
  const waiting = upgrade(database, ["alter table invocations add column more integer"]);
  expect(await waiting.isLogged("another program has a lock that the migration of the database needs")).toBe(true);
  await database.run("select more from (select 1 as more) as others, invocations");
  await reader.unsafe("commit");
  await waiting.ended;
});

test("a migration fails if the database ends its session, or does not answer any more", async () => {
  const database = await migrated();
  const ended = upgrade(database, [UNTIL_TOLD]);
  expect(await ended.isLogged("migrating the database")).toBe(true);
  await database.run(
    `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted
     and database = (select oid from pg_database where datname = current_database())`,
  );
  const away = { reason: "database_unavailable", message: "The database does not answer: try again later" };
  expect(await ended.ended.catch((error: unknown) => error)).toMatchObject(away);
  const { pathname, searchParams } = new URL(database.url);
  await using link = await DatabaseLink.start(searchParams.get("host") ?? "");
  const silent = upgrade({ url: link.url(pathname.slice(1)) }, [UNTIL_TOLD], 200);
  expect(await silent.isLogged("migrating the database")).toBe(true);
  link.cut();
  expect(await silent.ended.catch((error: unknown) => error)).toMatchObject(away);
});
