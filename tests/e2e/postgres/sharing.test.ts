import { afterAll, beforeAll, expect, test } from "bun:test";
import type { FunctionPools } from "../../../lib/domain/functions/functions.ts";
import type { SystemState } from "../../../lib/domain/system/system.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { type Cluster, startCluster } from "./cluster.ts";

const LONG_MS = 60_000;

let cluster: Cluster;
let servers: SpawnedServer[];

beforeAll(async () => {
  cluster = await startCluster();
  servers = await Promise.all(["a", "b", "c"].map((id) => cluster.start(id, { WARM_MAX: id === "c" ? "0" : "2" })));
});
afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

function at(index: number): SpawnedServer {
  const server = servers[index];
  if (server === undefined) throw new Error(`no server ${index}`);
  return server;
}

async function send(server: SpawnedServer, method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${server.url}${path}`, { method, ...(body && { body: JSON.stringify(body) }) });
}

async function dataOf<T>(response: Promise<Response>): Promise<T> {
  return ((await (await response).json()) as { data: T }).data; // an envelope
}

test("a server makes ready what others register, change and name by routes, and ends what they delete", async () => {
  const [a, b] = [at(0), at(1)];
  const fn = await a.createFunction(await fixture("chaos"), { warm_min: 1 });
  const poolsAtB = async () => dataOf<Partial<FunctionPools>>(send(b, "GET", `/v1/functions/${fn.id}`));
  const isReady = async () => (await poolsAtB()).pool?.ready === 1;
  expect(await eventually(isReady, LONG_MS)).toBe(true);
  expect((await send(a, "PATCH", `/v1/functions/${fn.id}`, { environment: { V: "2" } })).status).toBe(200);
  const hasChanged = async () => {
    const { pool, version_pools } = await poolsAtB();
    return pool?.ready === 1 && version_pools?.length === 0;
  };
  expect(await eventually(hasChanged, LONG_MS)).toBe(true);
  const answer = await b.invoke(fn, { do: "env" });
  expect(answer.headers.get("server-timing")).toContain("desc=warm");
  expect(await answer.text()).toContain('"V": "2"');
  const route = await dataOf<{ id: string }>(
    send(a, "POST", "/v1/routes", { path: "/old", function_id: fn.id, version: 1 }),
  );
  const namedAtB = async () => (await poolsAtB()).version_pools?.[0];
  expect(await eventually(async () => (await namedAtB())?.ready === 1, LONG_MS)).toBe(true);
  expect((await send(a, "DELETE", `/v1/routes/${route.id}`)).status).toBe(200);
  expect(await eventually(async () => (await namedAtB()) === undefined, LONG_MS)).toBe(true);
  await a.deleteFunction(fn.id);
});

test("three servers together let 30 requests a second pass if a route's limit is that", async () => {
  const fn = await at(2).createFunction(await fixture("chaos"), { warm_max: 0 });
  const rate_limit = { requests: 30, window_ms: 1_000, by: "address" };
  // A request that passes the limit is refused for its length, and costs nothing.
  const route = { path: "/limited", function_id: fn.id, rate_limit, max_request_bytes: 1 };
  expect((await send(at(0), "POST", "/v1/routes", route)).status).toBe(200);
  for (const server of servers) {
    const isKnown = async () => {
      const { servers: known } = await dataOf<SystemState>(send(server, "GET", "/v1/system"));
      return known?.filter(({ living }) => living).length === 3;
    };
    expect(await eventually(isKnown, LONG_MS)).toBe(true);
    expect((await send(server, "POST", "/r/limited", { too: "long" })).status).toBe(413);
  }
  let rate: number | undefined;
  while (rate === undefined) rate = await passing();
  expect(rate).toBeWithin(25, 35);
  expect((await send(at(1), "DELETE", `/v1/functions/${fn.id}?cascade=true`)).status).toBe(200);
});

let turn = 0;

/** Sends a request that is too long to the next server, and returns if it has passed the limit. */
async function passes(): Promise<boolean> {
  return (await send(at(turn++ % 3), "POST", "/r/limited", { too: "long" })).status === 413;
}

/** Returns the requests a second that pass the limit in four seconds; nothing if the machine had no time for them meanwhile. */
async function passing(): Promise<number | undefined> {
  // The buckets are full at first.
  while ((await Promise.all(Array.from({ length: 9 }, passes))).some(Boolean)) continue;
  const began = performance.now();
  let passed = 0;
  let elapsed_s = 0;
  for (let sent = 0; elapsed_s < 4;) {
    // 90 requests a second.
    const due = Math.floor(elapsed_s * 90) - sent;
    sent += due;
    const results = await Promise.all(Array.from({ length: due }, passes));
    passed += results.filter(Boolean).length;
    await Bun.sleep(5);
    const now_s = (performance.now() - began) / 1_000;
    // Without requests the buckets are full within a second, and what comes into them after that is lost.
    if (now_s - elapsed_s > 0.5) return undefined;
    elapsed_s = now_s;
  }
  return passed / elapsed_s;
}
