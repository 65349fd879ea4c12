import { expect, test } from "bun:test";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { Presence } from "../../../lib/store/postgres/presence.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog } from "../sqlite/support/stores.ts";

test("a database that goes away is logged once, with the cause and what to do, and once when it is back", async () => {
  const database = await newDatabase();
  const user = `p${new URL(database.url).pathname.slice(1)}`;
  await database.run(`create role ${user} login`);
  await using client = new Client(database.url.replace("slipway@", `${user}@`), { connections: 1 });
  const { log, events } = listeningLog();
  const clock = new FakeClock();
  using presence = new Presence(client, { server_id: "s1", log, clock });
  await presence.begin();
  await database.run(
    `alter role ${user} nologin; select pg_terminate_backend(pid) from pg_stat_activity where usename = '${user}'`,
  );
  const logged = (event: string) => events.filter((each) => each["event"] === event);
  const away = "the database is away: calls go on, all else waits or gets 503";
  // Looks until something comes of it, and then some more.
  const looks = async (until: () => boolean) => {
    const isSo = await eventually(async () => (await clock.advance(2_000), until()));
    for (let more = 0; more < 5; more++) await clock.advance(2_000);
    return isSo;
  };
  expect(await looks(() => logged(away).length > 0)).toBe(true);
  expect(presence.isHeld).toBe(true);
  await database.run(`alter role ${user} login`);
  expect(await looks(() => logged("the database is back").length > 0)).toBe(true);
  expect(logged(away)).toEqual([
    expect.objectContaining({
      problem: expect.stringMatching(/not permitted to log in: check its user and password$/),
    }),
  ]);
  expect(logged("the database is back")).toEqual([expect.objectContaining({ after_ms: expect.any(Number) })]);
});
