import { expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { migrate, MIGRATIONS as TABLES } from "../../../lib/store/postgres/migrations/migrations.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { MIGRATIONS } from "../../../lib/store/sqlite/migrations/migrations.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog, rejectionOf, someFunction } from "../sqlite/support/stores.ts";

/** A migration of SQLite of a version to come. */
const NEXT = `
  alter table functions add column note text not null default 'none';
  update functions set note = id || '!', timeout_ms = timeout_ms + 1;
  update pulled_images set names = replace(names, 'of', 'once of');
  delete from secrets where name = 'old';`;

const { log } = listeningLog();

test("the rows of the configuration become what the migrations of SQLite make of them, once, and servers see it", async () => {
  const { url } = await newDatabase();
  const options = (server_id: string) => ({ log, clock: systemClock, server_id, reclaim_pause_ms: 0 });
  await using a = await openPostgresStore(url, options("a"));
  await using b = await openPostgresStore(url, options("b"));
  for (const id of ["f2", "f1"]) await a.functions.insert(someFunction(id, { timeout_ms: 1_000 }));
  const secret = { value: "v", bytes: 1, created_at: "", updated_at: "" };
  for (const name of ["old", "new"]) await a.secrets.put({ ...secret, name });
  const pulled = (name: string) => ({ image_id: "i", brought: true, names: [{ name, created: true }] });
  await a.pulledImages.record(pulled("of a"));
  await b.pulledImages.record(pulled("of b"));
  await using client = new Client(url, { connections: 1 });
  const migrations = { tables: TABLES, rows: [...MIGRATIONS, NEXT] };
  const rows = () =>
    client.all<{ owner: string; id: string; record: string | null }>(
      `select owner, id, record from configuration where kind in ('functions', 'secrets', 'pulled_images') order by owner, id`,
    );
  await migrate(client, log, migrations);
  const after = await rows();
  expect(after.map(({ owner, id, record }) => [owner, id, record === null ? null : JSON.parse(record)])).toMatchObject([
    ["", "f1", { note: "f1!", timeout_ms: 1_001 }],
    ["", "f2", { note: "f2!", timeout_ms: 1_001 }],
    ["", "new", { name: "new" }],
    ["", "old", null],
    ["a", "i", { names: '["once of a"]' }],
    ["b", "i", { names: '["once of b"]' }],
  ]);
  await migrate(client, log, migrations);
  expect(await rows()).toEqual(after);
  // Those of today's version go on, and see what they know of it.
  expect(await eventually(() => b.functions.get("f1")?.timeout_ms === 1_001)).toBe(true);
  expect(b.functions.list().map(({ id }) => id)).toEqual(["f2", "f1"]);
  expect([b.secrets.get("old"), b.secrets.get("new")?.value]).toEqual([undefined, "v"]);
  expect(b.pulledImages.get("i")?.names).toEqual(["once of b"]);
  expect(await rejectionOf(b.functions.insert(someFunction("f3")))).toMatchObject({ reason: "conflict" });
});
