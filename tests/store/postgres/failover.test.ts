import { mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { openShared } from "../../../lib/store/postgres/open-shared.ts";
import { eventually } from "../../support/pace.ts";
import { type PrivatePostgres, startPostgres } from "../../support/postgres/private-postgres.ts";
import { newWork } from "../contract/records.ts";
import { listeningLog, rejectionOf, someFunction } from "../sqlite/support/stores.ts";

/** An address that leads to one PostgreSQL after the other, as that of a cluster does. */
function movingAddress(first: PrivatePostgres) {
  const directory = mkdtempSync(join(tmpdir(), "slipway-address-"));
  const socket = join(directory, "address");
  const lead = (to: PrivatePostgres) => {
    symlinkSync(to.directory, `${socket}.new`);
    renameSync(`${socket}.new`, socket);
  };
  lead(first);
  return {
    url: `postgres://slipway@localhost/postgres?host=${socket}`,
    lead,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

/** Ends all connections of servers, and returns when they have ended. */
async function cutAll(postgres: PrivatePostgres): Promise<void> {
  await using client = new SQL(postgres.url("postgres"), { max: 1 });
  const cut = () =>
    client.unsafe("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'slipway'");
  await eventually(async () => (await cut()).length === 0);
}

async function workIn(postgres: PrivatePostgres): Promise<string[]> {
  await using client = new SQL(postgres.url("postgres"), { max: 1 });
  const rows = await client.unsafe<{ invocation_id: string }[]>("select invocation_id from work order by 1");
  return rows.map(({ invocation_id }) => invocation_id);
}

test("a standby takes over, and the one before, or a stranger, is refused as long as the address leads to it", async () => {
  await using first = await startPostgres();
  using address = movingAddress(first);
  const { log, events } = listeningLog();
  await using shared = await openShared(address.url, { log, clock: systemClock, server_id: "a" });
  const { store } = shared;
  await store.functions.insert(someFunction("f1"));
  await store.ledger.submit(newWork("at-first"));
  await using second = await startPostgres([], { standbyOf: first });
  await first.kill();
  await second.run("select pg_promote()");
  address.lead(second);
  const isSubmitted = (id: string) =>
    store.ledger.submit(newWork(id)).then(
      () => true,
      () => false,
    );
  expect(await eventually(() => isSubmitted("at-second"))).toBe(true);

  await first.start();
  await using stranger = await startPostgres();
  for (const [other, difference] of [
    [first, "another one has replaced it: its timeline is 1, after 2"],
    [stranger, "it belongs to the cluster "],
  ] as const) {
    address.lead(other);
    await cutAll(second);
    let refusal: unknown;
    await eventually(async () => {
      refusal = await rejectionOf(store.ledger.submit(newWork("refused")));
      return String(refusal).includes(difference);
    });
    expect(refusal).toMatchObject({ reason: "database_unavailable", message: expect.stringContaining(difference) });
    expect(await rejectionOf(store.check())).toMatchObject({ message: expect.stringContaining(difference) });
    expect(store.functions.get("f1")).toMatchObject({ id: "f1" });
  }
  expect(await eventually(() => events.some((event) => JSON.stringify(event).includes("not the one")))).toBe(true);

  address.lead(second);
  expect(await eventually(() => isSubmitted("at-second-again"))).toBe(true);
  expect(await workIn(first)).toEqual(["at-first"]);
  expect(await workIn(second)).toEqual(["at-first", "at-second", "at-second-again"]);
});
