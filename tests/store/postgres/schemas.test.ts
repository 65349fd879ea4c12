import { SQL } from "bun";
import { expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { openShared, type SharedStore } from "../../../lib/store/postgres/open-shared.ts";
import { PostgresStats } from "../../../lib/store/postgres/stats.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog, rejectionOf, someFunction } from "../sqlite/support/stores.ts";

const { log } = listeningLog();
const options = (server_id: string) => ({ log, clock: systemClock, server_id, reclaim_pause_ms: 0 });

/** The names and numbers of versions that knew no schemas. */
const EARLIER = {
  migrations: 0x534c4950,
  stats: 0x534c4951,
  presence: (server_id: string) => `hashtextextended('slipway ${server_id}', 0)`,
} as const;

/** Returns what a server hears of others that are to be cancelled. */
function cancelsOf({ store }: SharedStore): string[] {
  const heard: string[] = [];
  store.notices?.listen(({ cancel }) => heard.push(...cancel));
  return heard;
}

test("clusters in schemas of one database do not disturb each other", async () => {
  const database = await newDatabase();
  await database.run("create schema a; create schema b");
  const urlOf = (schema: string) => `${database.url}&search_path=${schema}`;
  const open = (schema: string, server_id: string) => openShared(urlOf(schema), options(server_id));
  await using other = new SQL(database.url, { max: 1 });
  // As one whose migration goes on in the schema "public".
  await other.unsafe(`select pg_advisory_lock(${EARLIER.migrations})`);
  await using a1 = await open("a", "s1");
  await using a2 = await open("a", "s2");
  await using b1 = await open("b", "s1");
  await using b2 = await open("b", "s2");
  const [ofA, ofB] = [cancelsOf(a2), cancelsOf(b2)];
  a1.store.notices?.send("cancel", "of a");
  expect(await eventually(() => ofA.includes("of a"))).toBe(true);
  b1.store.notices?.send("cancel", "of b");
  expect(await eventually(() => ofB.includes("of b"))).toBe(true);
  // Notices come in the order of their commits.
  expect([ofA, ofB]).toEqual([["of a"], ["of b"]]);
  await a1.store.functions.insert(someFunction("f1"));
  expect(await eventually(() => a2.store.functions.get("f1") !== undefined)).toBe(true);
  expect(b2.store.functions.get("f1")).toBeUndefined();
  await using inA = new Client(urlOf("a"));
  await using inB = new Client(urlOf("b"));
  await inA.transaction(async (held) => {
    const tryIn = (client: Client) => client.transaction((one) => new PostgresStats(client).tryLock(one));
    expect(await new PostgresStats(inA).tryLock(held)).toBe(true);
    expect([await tryIn(inA), await tryIn(inB)]).toEqual([false, true]);
  });
});

test("in the schema public a server and one of an earlier version exclude and hear each other", async () => {
  const { url } = await newDatabase();
  await using earlier = new SQL(url, { max: 1 });
  const heard: string[] = [];
  for (const channel of ["slipway_notices", "slipway_configuration"])
    await earlier.listen(channel, () => void heard.push(channel));
  await earlier.unsafe(`select pg_advisory_lock(${EARLIER.migrations})`);
  const { log: ownLog, events } = listeningLog();
  const opening = openShared(url, { ...options("s1"), log: ownLog });
  expect(await eventually(() => events.some(({ event }) => String(event).startsWith("another server migrates")))).toBe(
    true,
  );
  await earlier.unsafe("select pg_advisory_unlock_all()");
  await using server = await opening;
  const cancels = cancelsOf(server);
  const [own] = await earlier.unsafe(`select pg_try_advisory_lock(${EARLIER.presence("s1")}) as taken`);
  expect(own).toEqual({ taken: false });
  server.store.notices?.send("cancel", "x");
  await server.store.functions.insert(someFunction("f1"));
  expect(await eventually(() => new Set(heard).size === 2)).toBe(true);
  await earlier.unsafe(`select pg_notify('slipway_notices', '{"from": "earlier", "cancel": ["y"]}')`);
  expect(await eventually(() => cancels.includes("y"))).toBe(true);
  await using client = new Client(url);
  await client.transaction(async (held) => {
    await new PostgresStats(client).tryLock(held);
    expect(await earlier.unsafe(`select pg_try_advisory_lock(${EARLIER.stats}) as taken`)).toEqual([{ taken: false }]);
  });
});

test("a schema that does not exist is refused with what to do", async () => {
  const { url } = await newDatabase();
  const refusals = [openShared, openPostgresStore].map((open) =>
    rejectionOf(open(`${url}&search_path=none`, options("s1"))),
  );
  for (const error of await Promise.all(refusals))
    expect(String(error)).toEndWith("): create the schema that is its search_path");
});
