import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Claimed } from "../../../lib/store/ledger.ts";
import type { Notice } from "../../../lib/store/cluster/notices.ts";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { openShared } from "../../../lib/store/postgres/open-shared.ts";
import { openPostgresStore, type PostgresStore } from "../../../lib/store/postgres/store.ts";
import { systemClock } from "../../../lib/clock.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { eventually } from "../../support/pace.ts";
import { DatabaseLink } from "../../support/postgres/database-link.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { again, claimNext, LEASE_MS, newWork, success } from "../contract/records.ts";
import { listeningLog, someFunction } from "../sqlite/support/stores.ts";

/** Two servers of one database. Time passes only if a test lets it. */
let clock: FakeClock;
let a: PostgresStore;
let b: PostgresStore;

beforeEach(async () => {
  clock = new FakeClock();
  const { url } = await newDatabase();
  [a, b] = await Promise.all([open(url, "a"), open(url, "b")]);
});
afterEach(() => Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()]));

function open(url: string, server_id: string, reclaim_pause_ms = 0): Promise<PostgresStore> {
  return openPostgresStore(url, { log: listeningLog().log, clock, server_id, reclaim_pause_ms });
}

async function claimed({ ledger }: PostgresStore, functionId = "f1"): Promise<Claimed> {
  const found = await claimNext(ledger, functionId, { now: clock.now(), until: clock.now() + LEASE_MS });
  if (found === null) throw new Error("nothing was ready");
  return found;
}

const attemptOf = ({ work }: Claimed) => ({ invocation_id: work.invocation_id, attempt: work.attempts });

test("askToCancel: the server that attempts an invocation learns of it, and only that one", async () => {
  for (const id of ["x", "y"]) await a.ledger.submit(newWork(id, { function_id: id }));
  const [x, y] = [await claimed(a, "x"), await claimed(a, "y")];
  expect(await a.ledger.askToCancel("x")).toBe(false);
  expect(await b.ledger.askToCancel("x")).toBe(true);
  expect(await a.ledger.toEnd([x, y].map(attemptOf))).toEqual({ cancelled: ["x"], lost: [] });
  await a.ledger.end(success(x));
  expect(await b.ledger.askToCancel("x")).toBe(false);
});

test("askToCancel: is kept for whoever makes the next attempt, and for whoever frees the work of a server that has died", async () => {
  await a.ledger.submit(newWork("x"));
  const first = await claimed(a);
  await b.ledger.askToCancel("x");
  await a.ledger.end(again(first, clock.now()));
  await b.ledger.wake(clock.now());
  const second = await claimed(b);
  expect((await b.ledger.toEnd([attemptOf(second)])).cancelled).toEqual(["x"]);
  await clock.advance(LEASE_MS);
  expect(await a.ledger.lost(clock.now())).toMatchObject([{ cancel_asked: true, invocation: { id: "x" } }]);
});

test("toEnd: attempts whose leases others have taken are lost", async () => {
  await a.ledger.submit(newWork("x"));
  const first = await claimed(a);
  await clock.advance(LEASE_MS);
  await b.ledger.lost(clock.now());
  expect(await a.ledger.toEnd([attemptOf(first)])).toEqual({ cancelled: [], lost: ["x"] });
});

test("lost: work of others is not taken over for some time after a start of PostgreSQL, as they write their ends first", async () => {
  const { url } = await newDatabase();
  // As if PostgreSQL had started a moment ago.
  await using waits = await open(url, "waits", 3_600_000);
  await using other = await open(url, "other");
  await other.ledger.submit(newWork("x"));
  const first = await claimed(other);
  await clock.advance(LEASE_MS);
  expect(await waits.ledger.lost(clock.now())).toEqual([]);
  expect(await other.ledger.end(success(first))).toBe(true);
});

test("lost: work of others is not taken over for some time after a server reaches the database again, which may be another one by then", async () => {
  const { url } = await newDatabase();
  await using link = await DatabaseLink.start(new URL(url).searchParams.get("host") ?? "");
  const pauseMs = 2_000;
  await using cut = await open(link.url(new URL(url).pathname.slice(1)), "cut", pauseMs);
  await using other = await open(url, "other");
  const lost = async () => (await cut.ledger.lost(clock.now())).length;
  const look = async () => {
    await clock.advance(1_000);
    await cut.check().catch(() => undefined);
  };
  await other.ledger.submit(newWork("x"));
  await claimed(other);
  await clock.advance(LEASE_MS);
  link.cut();
  await look();
  link.heal({ reset: true });
  const isThere = () =>
    cut.check().then(
      () => true,
      () => false,
    );
  expect(await eventually(isThere)).toBe(true);
  await look();
  expect(await lost()).toBe(0);
  await clock.advance(pauseMs);
  // PostgreSQL itself may have started a moment ago.
  expect(await eventually(async () => (await lost()) === 1)).toBe(true);
});

test("end: one whose commit was not answered is written, if it was made, and not taken for that of a stale attempt", async () => {
  const database = await newDatabase();
  const { url } = database;
  await using link = await DatabaseLink.start(new URL(url).searchParams.get("host") ?? "");
  await using cut = await open(link.url(new URL(url).pathname.slice(1)), "cut");
  await cut.ledger.submit(newWork("x"));
  const one = await claimed(cut);
  await database.run(`
    create function waits() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(1); return null; end';
    create constraint trigger waits after update on attempts deferrable initially deferred
      for each row execute function waits()`);
  await using watch = new Client(url, { connections: 1 });
  await watch.all("select pg_advisory_lock(1)::text");
  const ending = cut.ledger.end(success(one)).catch((error: unknown) => error);
  const commits = "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
  expect(await eventually(async () => (await watch.all(commits)).length > 0)).toBe(true);
  link.heal({ reset: true });
  expect(await ending).toMatchObject({ reason: "database_unavailable" });
  await watch.all("select pg_advisory_unlock(1)");
  expect(await eventually(async () => (await watch.all("select 1 from work")).length === 0)).toBe(true);
  expect(await cut.ledger.end(success(one))).toBe(true);
  expect(await cut.ledger.end(success(one))).toBe(false);
});

test("ownImageId: is that of one server, and lasts", async () => {
  const { url } = await newDatabase();
  await using here = await open(url, "here");
  await here.functions.insert(someFunction("f1"));
  const imageId = here.functions.get("f1")?.image_id ?? "";
  {
    await using there = await open(url, "there");
    await there.settings.noteOwnImageId(imageId, "at there");
    await here.settings.noteOwnImageId(imageId, "at here");
    expect([here, there].map(({ settings }) => settings.ownImageId(imageId))).toEqual(["at here", "at there"]);
  }
  await using restarted = await open(url, "there");
  expect(restarted.settings.ownImageId(imageId)).toBe("at there");
  expect(restarted.functions.get("f1")?.image_id).toBe(imageId);
});

test("writtenElsewhere: records that another server wrote last", async () => {
  for (const id of ["x", "y"]) await a.ledger.submit(newWork(id, { function_id: id }));
  await claimed(b, "x");
  const found = (store: PostgresStore) => store.history.writtenElsewhere(["x", "y", "none"]);
  expect(await found(a)).toMatchObject([{ holder: "b", invocation: { id: "x", status: "running" } }]);
  expect(await found(b)).toMatchObject([{ holder: "a", invocation: { id: "y", status: "queued" } }]);
});

const NOTHING: Notice = { changed: [], cancel: [], freed: [], wanted: [], more: false };

test("sharedPlaces: servers have as many as there are together, and those of a dead one are free when its lease ends", async () => {
  const set = (store: PostgresStore, places: number, most = 3) =>
    store.sharedPlaces.set("f", { places, most, now: clock.now(), until: clock.now() + LEASE_MS });
  expect([await set(a, 2), await set(b, 2), await set(b, 2), await set(a, 3)]).toEqual([2, 1, 1, 2]);
  // One that had more than the limit is now keeps what it has.
  expect([await set(a, 3, 1), await set(a, 0), await set(b, 9)]).toEqual([2, 0, 3]);
  expect([await set(a, 1), await clock.advance(LEASE_MS), await set(a, 1)]).toEqual([0, undefined, 1]);
  await Promise.all([a.sharedPlaces.clear(), b.sharedPlaces.clear()]);
  const all = Array.from({ length: 20 }, (_, i) => set(i % 2 === 0 ? a : b, 2));
  await Promise.all(all);
  expect((await set(a, 2)) + (await set(b, 2))).toBe(3);
});

test("notices: reach the other servers, many as one, and too many as a hint that there is more", async () => {
  const { url } = await newDatabase();
  const options = (server_id: string) => ({ log: listeningLog().log, clock: systemClock, server_id });
  await using one = await openPostgresStore(url, options("one"));
  await using other = await openPostgresStore(url, options("other"));
  const [got, own]: [Notice[], Notice[]] = [[], []];
  other.notices.listen((notice) => got.push(notice));
  one.notices.listen((notice) => own.push(notice));
  for (const id of ["x", "y", "x"]) one.notices.send("changed", id);
  one.notices.send("cancel", "z");
  expect(await eventually(() => got.length > 0)).toBe(true);
  for (let i = 0; i < 1_000; i++) one.notices.send("changed", `invocation-${i}`);
  expect(await eventually(() => got.length > 1)).toBe(true);
  expect(got).toEqual([
    { ...NOTHING, changed: ["x", "y"], cancel: ["z"] },
    { ...NOTHING, more: true },
  ]);
  expect(own).toEqual([]);
});

test("hold: a server that was frozen with its machine holds nothing before it knows the time", async () => {
  const { url } = await newDatabase();
  let lost_ms = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() - lost_ms };
  await using shared = await openShared(url, { log: listeningLog().log, clock, server_id: "a" });
  const { store } = shared;
  await store.ledger.submit(newWork("x"));
  const begun = { now: shared.clock.now(), until: shared.clock.now() + LEASE_MS };
  const taken = await claimNext(store.ledger, "f1", begun);
  if (taken === null) throw new Error("nothing was ready");
  const hold = () => store.ledger.hold(attemptOf(taken), shared.clock.now() + 1_000);
  expect(await hold()).toBe(true);
  lost_ms = 60_000;
  expect([await hold(), await hold()]).toEqual([false, true]);
});
