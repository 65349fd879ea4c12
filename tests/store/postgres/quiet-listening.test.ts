import { expect, test } from "bun:test";
import { SQL } from "bun";
import { quietListening } from "../../../lib/store/postgres/client/quiet-listening.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";

test("quietListening leaves out what Bun prints of notifications that it cannot get, and nothing else", async () => {
  const database = await newDatabase();
  const user = `q${new URL(database.url).pathname.slice(1)}`;
  await database.run(`create role ${user} login`);
  const warn = console.warn;
  using _restored = { [Symbol.dispose]: () => void (console.warn = warn) };
  const printed: string[] = [];
  console.warn = (text: string) => printed.push(text);
  {
    await using client = new SQL(database.url.replace("slipway@", `${user}@`), { max: 1 });
    await client.listen("news", () => undefined);
    await database.run(
      `alter role ${user} nologin; select pg_terminate_backend(pid) from pg_stat_activity where usename = '${user}'`,
    );
    expect(await eventually(() => printed.length > 0, 30_000)).toBe(true);
  }
  const said = new Set(printed.splice(0));
  quietListening();
  quietListening();
  for (const text of said) console.warn(text);
  console.warn("another warning");
  expect(printed).toEqual(["another warning"]);
});
