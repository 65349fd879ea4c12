import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { SQL } from "bun";
import { expect, spyOn, test } from "bun:test";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { openProblem } from "../../../lib/store/postgres/errors.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { rejectionOf } from "../sqlite/support/stores.ts";

test("sessions read what is committed, and have limits of their own, whatever an administrator has set", async () => {
  const database = await newDatabase();
  const name = new URL(database.url).pathname.slice(1);
  const settings = [
    ["default_transaction_isolation", "serializable", "read committed"],
    ["statement_timeout", "1ms", "9s"],
    ["lock_timeout", "1ms", "8s"],
    ["idle_in_transaction_session_timeout", "1ms", "15s"],
  ] as const;
  for (const [setting, value] of settings) await database.run(`alter database ${name} set ${setting} = '${value}'`);
  await using client = new Client(database.url);
  const asked = settings.map(([setting]) => `current_setting('${setting}') as ${setting}`).join();
  const expected = [Object.fromEntries(settings.map(([setting, , own]) => [setting, own]))];
  expect(await client.all(`select ${asked}`)).toEqual(expected);
  expect(
    await client.transaction((one) => one.all("select current_setting('transaction_isolation') as level")),
  ).toEqual([{ level: "read committed" }]);
});

test("a statement that another transaction was in the way of is run again, and a database that is always in the way is away", async () => {
  const database = await newDatabase();
  await database.run("create table t (id integer, n integer); insert into t values (2, 0), (1, 0)");
  await using client = new Client(database.url);
  await using sql = new SQL(database.url, { max: 1 });
  await using other = await sql.reserve();
  // The statement is the one that PostgreSQL ends of the two.
  await other.unsafe("set deadlock_timeout = '1h'; begin; update t set n = 10 where id = 1");
  const updated = client.run("update t set n = n + 1");
  const isWaiting = () =>
    client.get(
      "select 1 as found from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
  expect(await eventually(async () => (await isWaiting()) !== undefined)).toBe(true);
  await other.unsafe("update t set n = 10 where id = 2");
  await other.unsafe("commit");
  expect(await updated).toBe(2);
  expect(await client.all("select n from t")).toEqual([{ n: 11 }, { n: 11 }]);
  const always = "do $$ begin raise exception 'in the way' using errcode = '40001'; end $$";
  expect(await rejectionOf(client.run(always))).toMatchObject({ reason: "database_unavailable" });
});

test("a full disk is said with what to do, also at the start", async () => {
  const { url } = await newDatabase();
  await using client = new Client(url);
  const full = await rejectionOf(
    client.run(
      "do $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$",
    ),
  );
  expect(full).toMatchObject({ reason: "storage_full", retry_after_s: 10 });
  expect(openProblem(full)).toEndWith("No space left on device): make room on its disk");
});

test("a client whose notifications end listens again when it can, and prints nothing meanwhile", async () => {
  const { url } = await newDatabase();
  const { pathname, searchParams } = new URL(url);
  const path = join(searchParams.get("host") ?? "", ".s.PGSQL.5432");
  const sockets = new Set<Socket>();
  const refused: Socket[] = [];
  let isAway = false;
  const server = createServer((socket) => {
    if (isAway) return void refused.push(socket.destroy());
    const database = connect({ path });
    for (const one of [socket, database]) sockets.add(one.on("error", () => one.destroy()));
    socket.pipe(database).pipe(socket);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  using _closed = { [Symbol.dispose]: () => void server.close() };
  const { port } = server.address() as AddressInfo; // it listens on a port
  await using client = new Client(`postgres://slipway@127.0.0.1:${port}${pathname}`);
  await using other = new Client(url);
  using printed = spyOn(console, "warn");
  const heard: (string | undefined)[] = [];
  for (const channel of ["news", "more"]) await client.listen(channel, (payload) => heard.push(payload));
  isAway = true;
  for (const socket of sockets) socket.destroy();
  expect(await eventually(() => refused.length > 1)).toBe(true);
  expect(printed).not.toHaveBeenCalled();
  isAway = false;
  const isHeard = async () => {
    await other.notify("more", "payload");
    return heard.includes("payload");
  };
  expect(await eventually(isHeard)).toBe(true);
  // What came before has been missed: once at first, and once again.
  expect(heard.filter((payload) => payload === undefined)).toHaveLength(4);
});
