import { expect, test } from "bun:test";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { newWork } from "../contract/records.ts";
import { listeningLog, START } from "../sqlite/support/stores.ts";

test("a batch is no larger than it may be, however PostgreSQL plans the statement", async () => {
  const database = await newDatabase();
  // It plans so by itself if its statistics are of an empty table.
  for (const way of ["hashjoin", "mergejoin", "hashagg", "sort", "material"])
    await database.run(`alter database ${new URL(database.url).pathname.slice(1)} set enable_${way} = off`);
  const { log } = listeningLog();
  await using store = await openPostgresStore(database.url, { log, clock: new FakeClock(), server_id: "a" });
  const ahead = START + 365 * 24 * 3_600_000;
  const all = Array.from({ length: 501 }, (_, n) => ({
    ...newWork(`n${n}`, { function_id: `f${n}`, at: ahead, due: ahead + 1 }),
    waits_since: ahead,
  }));
  await Promise.all(all.map((one) => store.ledger.submit(one)));
  expect(await store.ledger.takeBack(START)).toBe(500);
  expect(await store.ledger.takeBack(START)).toBe(1);
  expect(await store.ledger.wake(START + 1)).toHaveLength(500);
  expect(await store.ledger.wake(START + 1)).toHaveLength(1);
});
