import { afterEach, beforeEach, expect, test } from "bun:test";
import { createServer, type AddressInfo } from "node:net";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { VersionCatchUp } from "../../../lib/store/postgres/configuration/catch-up.ts";
import { openPostgresStore, type PostgresStore } from "../../../lib/store/postgres/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog, someFunction } from "../sqlite/support/stores.ts";

/** Time passes only if a test lets it, so no server looks by itself. */
let clock: FakeClock;
let url: string;
let a: PostgresStore;
let client: Client;
/** The statements of the one below. */
let asked: number;
let version: number;
let catchUp: VersionCatchUp;

beforeEach(async () => {
  clock = new FakeClock();
  ({ url } = await newDatabase());
  a = await openPostgresStore(url, { log: listeningLog().log, clock, server_id: "a" });
  client = new Client(url, { connections: 1 });
  [asked, version] = [0, await current()];
  catchUp = catchUpWith(client);
});
afterEach(async () => {
  catchUp[Symbol.dispose]();
  await client[Symbol.asyncDispose]();
  await a[Symbol.asyncDispose]();
});

/** Counts the statements of a client, and has whatever version it was given last. */
function catchUpWith(database: Client): VersionCatchUp {
  return new VersionCatchUp({
    client: {
      get: (sql, bindings) => {
        asked++;
        return database.get(sql, bindings);
      },
    },
    clock,
    configuration: {
      get version() {
        return version;
      },
    },
    refresh: async () => void (version = await current()),
  });
}

async function current(): Promise<number> {
  return (await client.get<{ version: number }>("select version from configuration_state"))?.version ?? -1;
}

test("now: what was written before is read, all who ask at the same time share a statement, and one that was under way does not count", async () => {
  const first = catchUp.now();
  await a.functions.insert(someFunction("f1"));
  const written = version + 1;
  await Promise.all([first, ...Array.from({ length: 100 }, () => catchUp.now())]);
  expect(version).toBe(written);
  // The first one's, that of the first of the others, and one for all who came while it was under way.
  expect(asked).toBeLessThanOrEqual(3);
});

test("forUnknown: after a look in vain the next ones wait for the end of a tenth of a second, and share one", async () => {
  await catchUp.forUnknown();
  expect(asked).toBe(1);
  const flood = Promise.all(Array.from({ length: 1_000 }, () => catchUp.forUnknown()));
  await clock.advance(99);
  expect(asked).toBe(1);
  await a.functions.insert(someFunction("f1"));
  await clock.advance(1);
  await flood;
  expect([asked, version]).toEqual([2, await current()]);
  // It found something, so there is no pause.
  await catchUp.forUnknown();
  expect(asked).toBe(3);
});

test("a database that refuses, or does not answer, is waited for once, for a second at most, until it has been heard of", async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => void silent.listen(0, "127.0.0.1", resolve));
  const port = (silent.address() as AddressInfo).port; // it listens on TCP
  const lost = new Client(`postgres://slipway@127.0.0.1:${port}/postgres`, { connections: 1 });
  const other = catchUpWith(lost);
  try {
    const waits = Promise.all([other.now(), other.now(), other.forUnknown()]);
    await clock.advance(1_000);
    await waits;
    const before = asked;
    await other.now();
    await other.forUnknown();
    expect(asked).toBe(before);
    other.heard(true);
    silent.close();
    void other.now();
    expect(asked).toBe(before + 1);
  } finally {
    other[Symbol.dispose]();
    await lost[Symbol.asyncDispose]();
    silent.close();
  }
});
