import { expect, test } from "bun:test";
import type { Clock } from "../../../lib/clock.ts";
import { Members } from "../../../lib/services/cluster/members.ts";
import { openShared } from "../../../lib/store/postgres/open-shared.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { systemClock } from "../../../lib/clock.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";

const { log } = listeningLog();

/** Opens a database as a server, and what its services would be given of it. */
async function openServer(
  url: string,
  id: string,
  given: { clock?: Clock; ready_calls?: Record<string, number>; engine?: string | null } = {},
) {
  const shared = await openShared(url, { log, clock: systemClock, server_id: id });
  const { clock = new FakeClock(), ready_calls = {}, engine = null } = given;
  const members = new Members({
    store: shared.members,
    url: id === "c" ? null : `http://${id}:9999`,
    version: "1.0.0",
    readyCalls: () => ready_calls,
    engine: () => engine,
    clock,
    log,
  });
  return {
    members,
    clock,
    [Symbol.asyncDispose]: async () => {
      await members[Symbol.asyncDispose]();
      await shared[Symbol.asyncDispose]();
    },
  };
}

test("servers know of each other what they have reported, and of one that leaves that it has", async () => {
  const { url } = await newDatabase();
  const clock = new FakeClock();
  await using a = await openServer(url, "a", { clock });
  await a.members.begin();
  expect(a.members.living).toBe(1);
  {
    await using b = await openServer(url, "b", { ready_calls: { "f1@2": 5 } });
    await using c = await openServer(url, "c");
    await Promise.all([b.members.begin(), c.members.begin()]);
    // It learns of them with its next report.
    const beat = async () => (await clock.advance(2_000), a.members.living === 3);
    expect(await eventually(beat)).toBe(true);
    expect(a.members.others).toMatchObject([
      { id: "b", url: "http://b:9999", ready_calls: { "f1@2": 5 } },
      { id: "c", url: null, ready_calls: {} },
    ]);
    expect(await c.members.list()).toMatchObject([
      { id: "a", url: "http://a:9999", version: "1.0.0", living: true, ready: 0 },
      { id: "b", living: true, ready: 5 },
      { id: "c", url: null, living: true, heartbeat_age_ms: 0 },
    ]);
  }
  expect(await a.members.list()).toMatchObject([{ id: "a" }]);
  expect(a.members.living).toBe(1);
});

test("a server that has not reported itself for 10 seconds is dead, and is forgotten after a day", async () => {
  const database = await newDatabase();
  await using a = await openServer(database.url, "a");
  await using b = await openServer(database.url, "b");
  await b.members.begin();
  await database.run("update servers set heartbeat = heartbeat - 5000");
  await a.members.list();
  expect(a.members.living).toBe(2);
  await database.run("update servers set heartbeat = heartbeat - 5000 where id = 'b'");
  expect(await a.members.list()).toMatchObject([{ id: "a" }, { id: "b", living: false }]);
  expect(a.members.living).toBe(1);
  await database.run("update servers set heartbeat = heartbeat - 86400000 where id = 'b'");
  expect(await a.members.list()).toMatchObject([{ id: "a" }]);
  await b.members.list();
  expect(await a.members.list()).toHaveLength(2);
});

test("servers elsewhere are those that live and have another engine, if both are known", async () => {
  const database = await newDatabase();
  const engines = { a: "one", b: "two", c: "one", d: null, e: "two" };
  await using opened = new AsyncDisposableStack();
  const entries = Object.entries(engines).map(async ([id, engine]) => {
    const { members } = opened.use(await openServer(database.url, id, { engine }));
    await members.begin();
    return [id, members] as const;
  });
  const { a, c, d } = Object.fromEntries(await Promise.all(entries));
  await database.run("update servers set heartbeat = heartbeat - 10000 where id = 'e'");
  for (const members of [a, c, d]) await members?.list();
  expect([a, c, d].map((members) => members?.elsewhere.map(({ id }) => id))).toEqual([["b"], ["b"], []]);
  expect((await a?.list())?.map(({ id, engine }) => [id, engine])).toEqual(Object.entries(engines));
});

test("while the database does not answer, a server counts those that it knew", async () => {
  const database = await newDatabase();
  const clock = new FakeClock();
  await using a = await openServer(database.url, "a", { clock });
  await using b = await openServer(database.url, "b");
  await b.members.begin();
  await a.members.begin();
  expect(a.members.living).toBe(2);
  await database.run("alter table servers rename to gone");
  await clock.advance(60_000);
  expect(await eventually(async () => (await a.members.list().catch(() => "failed")) === "failed")).toBe(true);
  expect(a.members.living).toBe(2);
  await database.run("alter table gone rename to servers");
});
