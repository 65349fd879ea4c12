import { expect, test } from "bun:test";
import { type Clock, systemClock } from "../../../lib/clock.ts";
import { SCHEDULE_DEFAULTS } from "../../../lib/domain/schedules.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import { StoreError } from "../../../lib/store/errors.ts";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { openShared } from "../../../lib/store/postgres/open-shared.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { again, claimNext, LEASE_MS, newWork, success } from "../contract/records.ts";
import { listeningLog, rejectionOf, someFunction } from "../sqlite/support/stores.ts";

const options = (server_id = "s1", clock: Clock = systemClock) => ({
  log: listeningLog().log,
  clock,
  server_id,
  reclaim_pause_ms: 0,
});

async function refusalOf(opening: Promise<AsyncDisposable>): Promise<string> {
  const error = await rejectionOf(opening);
  expect(error).toBeInstanceOf(StoreError);
  return error instanceof Error ? error.message : "";
}

test("a database that could lose what was acknowledged, one of a newer version, and none at all are refused", async () => {
  const database = await newDatabase();
  const set = (what: string) => database.run(`alter database ${new URL(database.url).pathname.slice(1)} ${what}`);
  await set("set synchronous_commit = off");
  expect(await refusalOf(openPostgresStore(database.url, options()))).toMatch(
    /"synchronous_commit = off" .* set it to "on"/,
  );
  await set("reset synchronous_commit");
  await (await openPostgresStore(database.url, options()))[Symbol.asyncDispose]();
  await database.run("update slipway_schema set version = 1000, oldest = 1000");
  expect(await refusalOf(openPostgresStore(database.url, options()))).toMatch(
    /written by a newer slipway \(schema 1000/,
  );
  const missing = database.url.replace(/\/d\d+/, "/missing");
  expect(await refusalOf(openPostgresStore(missing, options()))).toMatch(
    /"missing" does not exist\): create it first$/,
  );
});

test("an older server goes on while a newer one's database allows it, but changes nothing; then it says so and takes no work", async () => {
  const database = await newDatabase();
  const { log, events } = listeningLog();
  await using store = await openPostgresStore(database.url, { ...options(), log });
  await store.functions.insert(someFunction("f1"));
  await store.ledger.submit(newWork("x"));
  await database.run("update slipway_schema set version = 1000; update configuration_state set schema = 1000");
  expect(await rejectionOf(store.functions.insert(someFunction("f2")))).toMatchObject({
    reason: "conflict",
    message: expect.stringContaining("A newer slipway uses the database"),
  });
  await store.settings.ownerId();
  const now = systemClock.now();
  const claim = () => claimNext(store.ledger, "f1", { now, until: now + LEASE_MS });
  expect((await claim())?.invocation.id).toBe("x");
  // One of that age may also start.
  await (await openPostgresStore(database.url, options("s2")))[Symbol.asyncDispose]();
  await store.check();
  await store.ledger.submit(newWork("y"));
  await database.run("update slipway_schema set oldest = 1000");
  expect(await eventually(() => events.some(({ event }) => event === "no more work is taken"))).toBe(true);
  expect(await claim()).toBeNull();
  expect(await rejectionOf(store.check())).toMatchObject({
    message: expect.stringMatching(/a newer slipway \(schema 1000, .* use that version/),
  });
});

test("of two servers that open an empty database at once both have it, and each sees what the other writes", async () => {
  const { url } = await newDatabase();
  const [a, b] = await Promise.all([openShared(url, options("a")), openShared(url, options("b"))]);
  await using one = a;
  await using other = b;
  await one.store.functions.insert(someFunction("f1", { name: "one" }));
  while (other.store.functions.find("one") === undefined) await Bun.sleep(5);
  const before = other.store.revision;
  const found = other.store.functions.get("f1") ?? someFunction("none");
  await other.store.functions.replace(found, { ...found, timeout_ms: 1_234 });
  while (one.store.functions.get("f1")?.timeout_ms !== 1_234) await Bun.sleep(5);
  await one.store.functions.delete("f1", { cascade: false });
  while (other.store.functions.get("f1") !== undefined) await Bun.sleep(5);
  expect(other.store.revision).toBeGreaterThan(before + 1);
  expect(await one.store.settings.ownerId()).not.toBe(await other.store.settings.ownerId());
});

test("a server learns which secrets others change and delete, and reads everything if it has missed too much", async () => {
  const database = await newDatabase();
  await using a = await openPostgresStore(database.url, options("a"));
  await using b = await openPostgresStore(database.url, options("b"));
  const seen: string[] = [];
  b.secrets.follow((name) => seen.push(`${name} ${b.secrets.get(name)?.value}`));
  const until = async (...expected: string[]) => {
    while (seen.length < expected.length) await Bun.sleep(5);
    expect(seen.splice(0)).toEqual(expected);
  };
  const secret = { bytes: 1, created_at: timestamp(0), updated_at: timestamp(0) };
  await a.secrets.put({ ...secret, name: "s", value: "1" });
  await until("s 1");
  await a.secrets.put({ ...secret, name: "s", value: "2" });
  await until("s 2");
  // Those of its own are no news.
  await b.secrets.put({ ...secret, name: "own", value: "3" });
  await a.secrets.delete("s", { force: false });
  await until("s undefined");
  await database.run(
    `update configuration_state set version = version + 2, forgotten = version + 1;
     update configuration set record = jsonb_set(record::jsonb, '{value}', '"4"') where kind = 'secrets' and id = 'own'`,
  );
  await until("own 4");
});

test("a server forgets changes that the database has lost, as a backup or a standby lacked them", async () => {
  const database = await newDatabase();
  // A standby that takes over raises it.
  await database.run(`
    create table timelines as select 1 as timeline;
    create function pg_walfile_name(pg_lsn) returns text language sql as 'select lpad(timeline::text, 8, ''0'') from public.timelines'`);
  await using store = await openPostgresStore(`${database.url}&search_path=public,pg_catalog`, options("a"));
  const seen: string[] = [];
  for (const kind of ["functions", "schedules"] as const) store[kind].follow((news) => seen.push(JSON.stringify(news)));
  store.secrets.follow((name) => seen.push(name));
  const secret = { bytes: 1, created_at: timestamp(0), updated_at: timestamp(0) };
  await store.functions.insert(someFunction("kept"));
  await store.secrets.put({ ...secret, name: "kept", value: "1" });
  await database.run(
    "create table rows_before as table configuration; create table state_before as table configuration_state",
  );
  await store.functions.insert(someFunction("lost"));
  await store.secrets.put({ ...secret, name: "lost", value: "1" });
  await store.functions.delete("kept", { cascade: true });
  await database.run(
    `begin; delete from configuration; insert into configuration table rows_before;
     update configuration_state set version = (select version from state_before); commit`,
  );
  expect(await eventually(() => store.functions.get("lost") === undefined)).toBe(true);
  expect([store.functions.get("kept")?.id, store.secrets.get("lost")]).toEqual(["kept", undefined]);
  expect(seen.toSorted()).toEqual(["lost", JSON.stringify({ functions: ["lost", "kept"], routes: true })]);
  // Changes go on from there.
  await store.functions.insert(someFunction("next"));
  expect(store.functions.get("next")?.id).toBe("next");
  // Others may have made as many changes as were lost.
  await database.run(
    "begin; delete from configuration where kind = 'functions' and id = 'next'; update timelines set timeline = 2; commit",
  );
  expect(await eventually(() => store.functions.get("next") === undefined)).toBe(true);
});

test("a server learns which schedules others add, change and delete, and of none of its own", async () => {
  const { url } = await newDatabase();
  await using a = await openPostgresStore(url, options("a"));
  await using b = await openPostgresStore(url, options("b"));
  const seen: string[] = [];
  b.schedules.follow((ids) => seen.push(...ids.map((id) => `${id} ${b.schedules.get(id)?.cron}`)));
  const until = async (...expected: string[]) => {
    while (seen.length < expected.length) await Bun.sleep(5);
    expect(seen.splice(0)).toEqual(expected);
  };
  await a.functions.insert(someFunction("f1"));
  const fields = { id: "s1", function_id: "f1", last_due: 0, last_invocation_id: null };
  const one = { ...SCHEDULE_DEFAULTS, ...fields, cron: "@daily", created_at: timestamp(0), updated_at: timestamp(0) };
  await a.schedules.insert(one);
  await until("s1 @daily");
  await a.schedules.replace(one, { ...one, cron: "@hourly" });
  await until("s1 @hourly");
  await b.schedules.insert({ ...one, id: "own" });
  await a.schedules.delete("s1");
  await until("s1 undefined");
});

test("a second server with the same id is refused while the first one lives", async () => {
  const { url } = await newDatabase();
  let ms = 0;
  const hasty: Clock = {
    ...systemClock,
    monotonic: () => (ms += 6_000),
    after: (_, run) => systemClock.after(1, run),
  };
  {
    await using first = await openShared(url, options("a"));
    expect(await refusalOf(openShared(url, options("a", hasty)))).toMatch(/the SERVER_ID "a" uses the database/);
    expect(await first.store.ledger.count()).toBe(0);
  }
  await using next = await openShared(url, options("a"));
  expect(Math.abs(next.clock.now() - Date.now())).toBeLessThan(60_000);
});

test("a server whose id another one has taken while its connection was cut begins no work", async () => {
  const database = await newDatabase();
  const { url } = database;
  // It looks at its lock only if the test lets it.
  const beats: (() => void)[] = [];
  const held: Clock = {
    ...systemClock,
    after: (ms, beat) => {
      if (ms !== 2_000) return systemClock.after(ms, beat);
      beats.push(beat);
      return () => undefined;
    },
  };
  await using first = await openShared(url, options("a", held));
  for (const id of ["x", "y"]) await first.store.ledger.submit(newWork(id, { function_id: id }));
  const claim = async ({ store: { ledger }, clock }: typeof first, function_id: string) => {
    const turns = { functions: [{ function_id, most: 1 }], limit: 1, urgent: 1 };
    return (await ledger.claim(turns, { now: clock.now(), until: clock.now() + LEASE_MS })).claimed.length;
  };
  expect(await claim(first, "x")).toBe(1);
  await database.run(
    "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
  );
  await using second = await openShared(url, options("a"));
  for (const beat of beats.splice(0)) beat();
  const isRefused = () =>
    first.store.check().then(
      () => false,
      (error: unknown) => String(error).includes("Another server with this SERVER_ID"),
    );
  expect(await eventually(isRefused)).toBe(true);
  expect(await claim(first, "y")).toBe(0);
  expect(await claim(second, "y")).toBe(1);
});

test("a server whose time of day is set takes no work of others, and its own leases stay as long", async () => {
  const { url } = await newDatabase();
  let step = 0;
  const set: Clock = { ...systemClock, now: () => systemClock.now() + step };
  await using a = await openShared(url, options("a"));
  await using b = await openShared(url, options("b", set));
  // One that asks with a time that is wrong finds nothing, either.
  await using wrong = await openPostgresStore(url, options("c", set));
  const lease = () => ({ now: b.clock.now(), until: b.clock.now() + LEASE_MS });
  for (const id of ["x", "y"]) await a.store.ledger.submit(newWork(id, { function_id: id }));
  await claimNext(a.store.ledger, "x", lease());
  step = 3_600_000;
  expect(await b.store.ledger.lost(b.clock.now())).toEqual([]);
  expect(await wrong.ledger.lost(set.now())).toEqual([]);
  step = -3_600_000;
  await claimNext(b.store.ledger, "y", lease());
  expect(await a.store.ledger.lost(a.clock.now())).toEqual([]);
});

test("a database that does not answer is given up in time, and is used again when it answers", async () => {
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  await using client = new Client(`postgres://u@127.0.0.1:${silent.port}/d`, { deadline_ms: 100 });
  expect(await rejectionOf(client.all("select 1"))).toMatchObject({ reason: "database_unavailable", retry_after_s: 2 });
  expect(await rejectionOf(client.transaction((on) => on.all("select 1")))).toMatchObject({
    reason: "database_unavailable",
  });
});

test("a database that answers nothing is given up within 3 s, and a slow statement of one that answers is not", async () => {
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  await using client = new Client(`postgres://u@127.0.0.1:${silent.port}/d`);
  const began = performance.now();
  const all = [client.all("select 1"), client.transaction((on) => on.all("select 1"))].map(rejectionOf);
  for (const error of await Promise.all(all)) expect(error).toMatchObject({ reason: "database_unavailable" });
  await expectWithin(performance.now() - began, 3_000);
  const { url } = await newDatabase();
  await using other = new Client(url);
  expect(await other.all("select pg_sleep(3.5)::text as slept")).toEqual([{ slept: "" }]);
});

test("a server that was given up for its silence is listened to again, and its sessions do not outlive this one's", async () => {
  const { url } = await newDatabase();
  // Longer than a connection takes on a busy machine.
  await using client = new Client(url, { deadline_ms: 1_000 });
  await using other = new Client(url);
  let heard = 0;
  await client.listen("news", () => heard++);
  const listening = heard;
  expect(await rejectionOf(client.all("select pg_sleep(5)"))).toMatchObject({ reason: "database_unavailable" });
  const isHeard = async () => {
    await other.run("notify news");
    return heard > listening;
  };
  expect(await eventually(isHeard)).toBe(true);
  const names = ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"];
  for (const name of names)
    expect(await client.all("select current_setting($name) as value", { name })).toEqual([
      { value: expect.stringMatching(/^\d+s$/) },
    ]);
});

test("a cut connection is not seen by reads, and a text with U+0000 is refused clearly", async () => {
  const { url } = await newDatabase();
  await using client = new Client(url, { connections: 1 });
  await using other = new Client(url, { connections: 1 });
  for (let round = 0; round < 5; round++) {
    const [own] = await client.all<{ pid: number }>("select pg_backend_pid() as pid");
    await other.run("select pg_terminate_backend($pid::integer)", { pid: own?.pid ?? 0 });
    expect(await client.all("select 1::bigint as one, 'x'::bytea as bytes")).toEqual([
      { one: 1, bytes: new Uint8Array(Buffer.from("x")) },
    ]);
  }
  expect(await rejectionOf(client.all("select $text::text as text", { text: "a\0b" }))).toMatchObject({
    reason: "invalid_request",
  });
});

test("work of a server whose lease has ended is lost to the others, and its late end writes nothing", async () => {
  const { url } = await newDatabase();
  const clock = new FakeClock();
  await using a = await openPostgresStore(url, options("a", clock));
  await using b = await openPostgresStore(url, options("b", clock));
  const until = clock.now() + LEASE_MS;
  await a.ledger.submit(newWork("x"));
  const claimed = await claimNext(a.ledger, "f1", { now: clock.now(), until });
  if (claimed === null) throw new Error("nothing was ready");
  expect([await b.ledger.loseMine(), await b.ledger.lost(clock.now()), await b.ledger.lost(Infinity)]).toEqual([
    0,
    [],
    [],
  ]);
  await b.ledger.renew(until + 100_000);
  expect(await b.ledger.end(success(claimed))).toBe(false);
  await clock.advance(LEASE_MS);
  const [lost] = await b.ledger.lost(clock.now());
  if (lost === undefined) throw new Error("nothing was lost");
  expect(await b.ledger.release([again(lost, clock.now())])).toHaveLength(1);
  expect(await a.ledger.end(success(claimed))).toBe(false);
  expect(await b.ledger.wake(clock.now())).toHaveLength(1);
  expect((await claimNext(b.ledger, "f1", { now: clock.now(), until: until + LEASE_MS }))?.attempt.attempt).toBe(2);
});

test("work that a server took without learning of it is lost when its lease ends, and not renewed", async () => {
  const { url } = await newDatabase();
  const clock = new FakeClock();
  await using store = await openPostgresStore(url, options("a", clock));
  await using same = await openPostgresStore(url, options("a", clock));
  for (const id of ["known", "unknown"]) await store.ledger.submit(newWork(id, { function_id: id }));
  const lease = { now: clock.now(), until: clock.now() + LEASE_MS };
  await claimNext(store.ledger, "known", lease);
  await claimNext(same.ledger, "unknown", lease);
  await store.ledger.renew(clock.now() + 10 * LEASE_MS);
  await clock.advance(2 * LEASE_MS);
  expect((await store.ledger.lost(clock.now())).map(({ invocation }) => invocation.id)).toEqual(["unknown"]);
});
