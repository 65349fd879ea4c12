import { afterEach, beforeEach, expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import { openPostgresStore, type PostgresStore } from "../../../lib/store/postgres/store.ts";
import { type Database, newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog, someInvocation } from "../sqlite/support/stores.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let database: Database;
let a: PostgresStore;
let b: PostgresStore;

beforeEach(async () => {
  database = await newDatabase();
  [a, b] = await Promise.all([open("a"), open("b")]);
});
afterEach(() => Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()]));

function open(server_id: string): Promise<PostgresStore> {
  return openPostgresStore(database.url, { log: listeningLog().log, clock: systemClock, server_id });
}

/** Writes the record of a call that came to A so long ago, and runs. */
async function running(id: string, ageMs: number): Promise<Invocation> {
  const created_at = timestamp(Date.now() - ageMs);
  const invocation = someInvocation(id, { status: "running", finished_at: null, created_at });
  await a.history.save([{ invocation }]);
  return invocation;
}

/** Lets a server have reported itself for the last time so long ago. */
async function reported(id: string, ageMs: number): Promise<void> {
  await database.run(
    `insert into servers (id, epoch, version, heartbeat, places)
     values ('${id}', 'e', '1', (extract(epoch from clock_timestamp()) * 1000)::bigint - ${ageMs}, '{}')
     on conflict (id) do update set heartbeat = excluded.heartbeat`,
  );
}

const listed = async (silentMs: number) => (await b.leftRecords.list(silentMs)).map(({ id }) => id);

test("list: calls of another server that has been silent for so long, by the later of its last report and the call", async () => {
  await running("old", HOUR_MS);
  await running("new", MINUTE_MS);
  await reported("a", 0);
  expect(await listed(MINUTE_MS)).toEqual([]);
  await reported("a", 10 * MINUTE_MS);
  expect(await listed(11 * MINUTE_MS)).toEqual([]);
  expect(await listed(9 * MINUTE_MS)).toEqual(["old"]);
  expect(await listed(MINUTE_MS / 2)).toEqual(["old", "new"]);
  // One that has left, or was forgotten.
  await database.run("delete from servers");
  expect(await listed(59 * MINUTE_MS)).toEqual(["old"]);
  expect(await a.leftRecords.list(0)).toEqual([]);
});

test("list: neither what has ended nor work of the queue", async () => {
  const call = await running("ended", HOUR_MS);
  await a.history.save([{ invocation: { ...call, status: "succeeded", finished_at: timestamp(Date.now()) } }]);
  await a.history.save([{ invocation: { ...call, id: "queued", mode: "async" } }]);
  expect(await listed(0)).toEqual([]);
});

test("end: says why, once; the real end takes its place if the server comes back, and is left alone if it came first", async () => {
  const [call, other] = [await running("x", HOUR_MS), await running("y", HOUR_MS)];
  const ended = (one: Invocation) => ({ ...one, status: "succeeded", finished_at: timestamp(Date.now()) }) as const;
  await a.history.save([{ invocation: ended(other) }]);
  const lost = ["x", "y", "unknown"].map((id) => ({ id, message: `${id} was lost` }));
  expect(await b.leftRecords.end(lost, Date.now())).toEqual(["x"]);
  expect(await b.leftRecords.end(lost, Date.now())).toEqual([]);
  expect(await a.history.get("x")).toMatchObject({
    status: "failed",
    reason: "instance_lost",
    message: "x was lost",
    finished_at: expect.any(String),
  });
  await a.history.save([{ invocation: ended(call) }]);
  for (const id of ["x", "y"])
    expect(await b.history.get(id)).toMatchObject({ status: "succeeded", reason: null, message: null });
});
