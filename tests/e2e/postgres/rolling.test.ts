import { expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { Balancer, freePort } from "./support/balancer.ts";

/** Restarts of each server, and the number of servers: the short form has two, each of which restarts once. */
const FULL = process.env["ROLLING"] === "full";
const [ROUNDS, SERVERS] = FULL ? [5, 3] : [1, 2];

/** Longer than HAProxy takes to see that a server stops, on a busy machine. */
const DRAIN_DELAY_MS = FULL ? 5_000 : 3_000;
const CLIENTS = 4;
const LONG_MS = 120_000;

/** A request that comes through a proxy needs a key. */
const KEY = "key-of-this-test";
const AS_ADMINISTRATOR = { authorization: `Bearer ${KEY}` };

/** The calls that have been answered, and what came of those that have not. */
interface Load {
  readonly submitted: string[];
  readonly failures: string[];
  readonly times: number[];
  answered: number;
}

/** Calls a function through the balancer, over and over, one in four of them asynchronously, until a signal. */
async function load(url: string, id: string, stop: AbortSignal): Promise<Load> {
  const found: Load = { submitted: [], failures: [], times: [], answered: 0 };
  const one = async (client: number, n: number) => {
    const isLater = n % 4 === 0;
    const body = JSON.stringify({ client, n });
    const begun = performance.now();
    try {
      const path = `${url}/v1/functions/${id}/invoke${isLater ? "?async=true" : ""}`;
      const response = await fetch(path, { method: "POST", headers: AS_ADMINISTRATOR, body });
      const text = await response.text();
      if (response.status !== (isLater ? 202 : 200)) found.failures.push(`${response.status} ${text}`);
      else if (isLater) found.submitted.push((JSON.parse(text) as { data: Invocation }).data.id); // an envelope
      else if (text !== body) found.failures.push(`another answer: ${text}`);
      else found.answered++;
    } catch (error) {
      found.failures.push(String(error));
    }
    found.times.push(performance.now() - begun);
  };
  const client = async (number: number) => {
    for (let n = 0; !stop.aborted; n++) await one(number, n);
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => client(number)));
  return found;
}

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
  const balancer = stack.use(await Balancer.start(ports));
  for (const place of places) await balancer.sendsTo(place);
  const made = await fetch(`${balancer.url}/v1/functions`, {
    method: "POST",
    headers: AS_ADMINISTRATOR,
    body: JSON.stringify({ image: await fixture("chaos"), max_calls: 10_000, warm_min: 1 }),
  });
  const { data: fn } = (await made.json()) as { data: Function }; // an envelope
  const stop = new AbortController();
  const loading = load(balancer.url, fn.id, stop.signal);
  for (let round = 0; round < ROUNDS; round++) {
    for (const place of places) {
      const server = servers.get(place);
      server?.kill("SIGTERM");
      expect(await server?.exited).toBe(0);
      servers.set(place, stack.use(await start(place)));
      await balancer.sendsTo(place);
    }
  }
  stop.abort();
  const { submitted, failures, times, answered } = await loading;
  expect(failures.slice(0, 5)).toEqual([]);
  expect(Math.min(answered, submitted.length)).toBeGreaterThan(10);
  const states = new Map<string, number>();
  for (const id of submitted) {
    let state = "";
    const isOver = async () => {
      const response = await fetch(`${balancer.url}/v1/invocations/${id}`, { headers: AS_ADMINISTRATOR });
      state = ((await response.json()) as { data: Invocation }).data.status; // an envelope
      return !["queued", "running"].includes(state);
    };
    await eventually(isOver, LONG_MS);
    states.set(state, (states.get(state) ?? 0) + 1);
  }
  expect([...states]).toEqual([["succeeded", submitted.length]]);
  if (!FULL) return;
  const [p50, p99] = [0.5, 0.99].map((part) => times.toSorted((a, b) => a - b)[Math.floor(times.length * part)]);
  console.log({ restarts: ROUNDS * SERVERS, answered, submitted: submitted.length, p50, p99, max: Math.max(...times) });
}, 1_800_000);
