import { expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { freePort } from "../../support/ports/free-port.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { containersLeft } from "../../support/server.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { Balancer } from "./support/balancer.ts";
import { endsOf, Load } from "./support/load.ts";

/** Restarts of each server, and the number of servers: the short form has two, each of which restarts once. */
const FULL = process.env["ROLLING"] === "full";
const [ROUNDS, SERVERS] = FULL ? [5, 3] : [1, 2];

/** Longer than HAProxy takes to see that a server stops, on a busy machine. */
const DRAIN_DELAY_MS = FULL ? 5_000 : 3_000;
/** Longer than the last containers take to go. */
const LONG_MS = 60_000;

/** A request that comes through a proxy needs a key. */
const KEY = "key-of-this-test";
const AS_ADMINISTRATOR = { authorization: `Bearer ${KEY}` };

test("a rolling restart behind HAProxy fails no call and loses no submission", async () => {
  const { url } = await newDatabase();
  const ports = Array.from({ length: SERVERS }, freePort);
  const start = (place: number) =>
    SpawnedServer.start({
      DATABASE_URL: url,
      SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
      SERVER_ID: `node-${place}`,
      API_KEY: KEY,
      AUTH: "on",
      PORT: String(ports[place - 1]),
      DRAIN_DELAY_MS: String(DRAIN_DELAY_MS),
      TRUSTED_PROXIES: "127.0.0.1",
      WARM_MAX: "2",
    });
  await using stack = new AsyncDisposableStack();
  const servers = new Map<number, SpawnedServer>();
  const places = ports.map((_, index) => index + 1);
  for (const place of places) servers.set(place, stack.use(await start(place)));
  const balancer = stack.use(await Balancer.start(ports.map((port) => `127.0.0.1:${port}`)));
  for (const place of places) await balancer.sendsTo(place);
  const made = await fetch(`${balancer.url}/v1/functions`, {
    method: "POST",
    headers: AS_ADMINISTRATOR,
    body: JSON.stringify({ image: await fixture("chaos"), max_calls: 10_000, warm_min: 1 }),
  });
  const { data: fn } = (await made.json()) as { data: Function }; // an envelope
  const target = { url: balancer.url, key: KEY, id: fn.id };
  const load = new Load(target);
  for (let round = 0; round < ROUNDS; round++) {
    for (const place of places) {
      const server = servers.get(place);
      server?.kill("SIGTERM");
      expect(await server?.exited).toBe(0);
      servers.set(place, stack.use(await start(place)));
      await balancer.sendsTo(place);
    }
  }
  await load.stop();
  const { submitted, failures, times, answered } = load;
  expect(failures.slice(0, 5)).toEqual([]);
  expect(Math.min(answered, submitted.length)).toBeGreaterThan(10);
  expect(await endsOf(target, submitted)).toEqual({ succeeded: submitted.length });
  // Servers that are killed while they start an instance leave its container.
  const path = `${balancer.url}/v1/functions/${fn.id}`;
  expect((await fetch(path, { method: "DELETE", headers: AS_ADMINISTRATOR })).status).toBe(200);
  expect(await containersLeft(LONG_MS)).toEqual([]);
  if (!FULL) return;
  const [p50, p99] = [0.5, 0.99].map((part) => times.toSorted((a, b) => a - b)[Math.floor(times.length * part)]);
  console.log({ restarts: ROUNDS * SERVERS, answered, submitted: submitted.length, p50, p99, max: Math.max(...times) });
}, 1_800_000);
