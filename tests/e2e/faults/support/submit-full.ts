import { Database } from "bun:sqlite";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../../lib/clock.ts";
import { readConfig, thisMachine } from "../../../../lib/config/config.ts";
import { createLogger } from "../../../../lib/log.ts";
import { start } from "../../../../lib/server/server.ts";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { newStore, someFunction } from "../../../store/sqlite/support/stores.ts";

// Submits to a server whose disk is full. It is run on a tiny file system and prints its observations as JSON. Without an
// engine nothing runs.
const directory = process.argv[2] ?? ".";
const ballast = join(directory, "ballast");
const acknowledged: string[] = [];
const refusals = new Map<string, readonly [number, string]>();

{
  using store = newStore(databasePath(directory));
  await store.functions.insert(someFunction("f1"));
}
const variables = { PORT: "0", DATA_PATH: directory, DOCKER_HOST: `unix://${directory}/none.sock` };
const server = await start(readConfig({}, variables, thisMachine()), {
  log: createLogger({ level: "error", format: "json", clock: systemClock, write: () => undefined }),
});

for (let n = 0; n < 5; n++) await submit();
fill();
for (let n = 0; n < 500 && refusals.size === 0; n++) await submit();
await Promise.all(Array.from({ length: 40 }, submit));
const read = (await fetch(`${server.url}/v1/invocations`)).status;
rmSync(ballast);
const recovered = await submit();
await server.stop(0);

using database = new Database(databasePath(directory));
const count = (table: string) =>
  database.query<{ count: number }, []>(`select count(*) as count from ${table}`).get()?.count === acknowledged.length;
const known = new Set(
  database
    .query<{ id: string }, []>("select id from invocations")
    .all()
    .map(({ id }) => id),
);
console.log(
  JSON.stringify({
    refusals: [...refusals.values()],
    read,
    recovered,
    kept: { invocations: count("invocations"), payloads: count("payloads"), work: count("work") },
    lost: acknowledged.filter((id) => !known.has(id)),
  }),
);
process.exit(0);

async function submit(): Promise<number> {
  const body = JSON.stringify({ fill: "x".repeat(20_000) });
  const response = await fetch(`${server.url}/v1/functions/f1/invoke?async=true`, { method: "POST", body });
  const reply = (await response.json()) as { data: { id: string } | null; reason?: string }; // an envelope
  if (response.status === 202) acknowledged.push(reply.data?.id ?? "");
  else refusals.set(`${response.status} ${reply.reason}`, [response.status, reply.reason ?? ""]);
  return response.status;
}

function fill(): void {
  const descriptor = openSync(ballast, "a");
  try {
    for (;;) writeSync(descriptor, Buffer.alloc(4096));
  } catch {
    closeSync(descriptor);
  }
}
