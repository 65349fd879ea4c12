import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { SystemState } from "../../../lib/domain/system/system.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import type { FunctionVersion } from "../../../lib/domain/functions/versions.ts";
import { acquireEngine, type Engine, startNewestEngine } from "../../../.ci/engine/engine.ts";
import type { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { startPrivateEngine } from "../../../.ci/engine/private-engine.ts";
import { fixture, hasContainerdStore } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { type Registry, startRegistry } from "../../support/registry/registry.ts";
import type { SpawnedServer } from "../../support/spawned-server.ts";
import { type Cluster, startCluster } from "./cluster.ts";

const LONG_MS = 60_000;
/** No instance is started before a call asks for it, so no image is pulled before. */
const VARIABLES = { WARM_MAX: "0", KEEP_VERSIONS: "1" };

/** Two engines, whose image stores give the same image different ids: one has Docker's older store, the other that of containerd. */
let here: Engine;
let there: EngineClient;
let registry: Registry;
let cluster: Cluster;
/** A server on each. */
let a: SpawnedServer;
let b: SpawnedServer;
const held = new AsyncDisposableStack();

beforeAll(async () => {
  here = await acquireEngine();
  const other = (await hasContainerdStore(here.client)) ? await startPrivateEngine() : await startNewestEngine();
  held.defer(() => other.stop());
  there = other.client;
  registry = held.use(await startRegistry());
  cluster = held.use(await startCluster());
  [a, b] = await Promise.all([start("a", here.client), start("b", there)]);
  await knowEachOther(a, b);
});
afterAll(async () => {
  await held[Symbol.asyncDispose]();
});

async function start(id: string, { host }: EngineClient): Promise<SpawnedServer> {
  return held.use(await cluster.start(id, { ...VARIABLES, DOCKER_HOST: host }));
}

/** Waits until each of these servers, and none besides, has told the others its engine. */
async function knowEachOther(...servers: readonly SpawnedServer[]): Promise<void> {
  for (const server of servers) {
    const know = async () => {
      const known = (await api<SystemState>(server, "GET", "/v1/system")).servers ?? [];
      return known.filter(({ living, engine }) => living && engine !== null).length === servers.length;
    };
    expect(await eventually(know, LONG_MS)).toBe(true);
  }
}

async function api<T>(server: SpawnedServer, method: string, path: string, body?: object): Promise<T> {
  const response = await fetch(`${server.url}${path}`, { method, ...(body && { body: JSON.stringify(body) }) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { data: T }).data; // an envelope
}

/** Calls a function at a server, and returns the status. */
async function call(server: SpawnedServer, fn: Pick<Function, "id">): Promise<number> {
  return (await server.invoke(fn, { do: "exit" })).status;
}

/** Returns the id that an engine has for a name or an id; undefined if it has none. */
async function idOf(engine: EngineClient, name: string): Promise<string | undefined> {
  const found = await engine.json("GET", `/images/${encodeURIComponent(name)}/json`).catch(() => undefined);
  return (found as { Id?: string } | undefined)?.Id; // the engine's own format
}

/** Checks that a server sees a function as another one does. */
async function seenAt(server: SpawnedServer, fn: Function): Promise<void> {
  const { version, image_id, digest, updated_at } = fn;
  const seen = await api<Function>(server, "GET", `/v1/functions/${fn.id}`);
  expect(seen).toMatchObject({ version, image_id, digest, updated_at });
}

test("a function runs on engines of different kinds by its digest, and keeps the id that it was registered with", async () => {
  const pushed = await registry.pushUnique("team/app:1");
  const [repository = ""] = pushed.reference.split(/:\d+$/);
  const digest = `${repository}@${pushed.digest}`;
  const fn = await a.createFunction(pushed.reference);
  expect([fn.digest, fn.image_id]).toEqual([digest, (await idOf(here.client, digest)) ?? "none"]);
  // The tag means another image before the other server has pulled anything.
  const moved = await registry.pushUnique("team/app:1");
  await seenAt(b, fn);
  expect([await call(b, fn), await call(a, fn), await call(b, fn)]).toEqual([200, 200, 200]);
  const idThere = await idOf(there, digest);
  expect(idThere).toBeString();
  expect(idThere).not.toBe(fn.image_id ?? "");
  for (const server of [a, b]) await seenAt(server, fn);

  // Its image is needed there, and another one, which came later, is not.
  const brief = await b.createFunction((await registry.pushUnique("team/brief:1")).reference);
  await b.deleteFunction(brief.id);
  const removed = (server: SpawnedServer, id: string | null | undefined) =>
    server.log.some(({ event, image_id }) => event === "image removed" && image_id === id);
  expect(await eventually(() => removed(b, brief.image_id), LONG_MS)).toBe(true);
  expect(await idOf(there, digest)).toBe(idThere ?? "none");

  // Either server may pull the tag again: it is one change, whoever makes it.
  const pulled = await api<Function>(b, "POST", `/v1/functions/${fn.id}/pull`);
  expect(pulled).toMatchObject({ version: 2, digest: `${repository}@${moved.digest}` });
  await seenAt(a, pulled);
  expect(await call(a, pulled)).toBe(200);
  for (const server of [a, b]) {
    const again = await api<Function>(server, "POST", `/v1/functions/${fn.id}/pull`);
    expect(again).toMatchObject({ version: 2, image_id: pulled.image_id, digest: pulled.digest });
  }
  const first = await api<FunctionVersion>(b, "GET", `/v1/functions/${fn.id}/versions/1`);
  expect(first).toMatchObject({ image_id: fn.image_id, digest });
  // Now nobody needs the first image: it is pulled again by its digest.
  expect(await eventually(() => removed(b, idThere), LONG_MS)).toBe(true);
  const back = await api<Function>(b, "POST", `/v1/functions/${fn.id}/rollback`, { version: 1 });
  expect(back).toMatchObject({ version: 3, image_id: fn.image_id, digest });
  await seenAt(a, back);
  expect([await call(a, back), await call(b, back)]).toEqual([200, 200]);
  await a.deleteFunction(fn.id);
});

test("an image of no registry is refused while a server with another engine lives, and allowed with several on one engine", async () => {
  // Not one of the tests' own: these are pushed to registries, and the engine may remember that.
  const image = `slipway-test/local:${crypto.randomUUID()}`;
  const container = (await here.docker("create", await fixture("chaos"))).trim();
  await here.docker("commit", "--message", image, container, image);
  await here.docker("rm", container);
  const register = () => fetch(`${a.url}/v1/functions`, { method: "POST", body: JSON.stringify({ image }) });
  const refused = await register();
  expect([refused.status, await refused.json()]).toMatchObject([
    400,
    { reason: "image_invalid", message: expect.stringContaining('of other servers ("b") cannot get it: push it to a') },
  ]);
  b.kill("SIGTERM");
  await b.exited;
  const c = await start("c", here.client);
  await knowEachOther(a, c);
  const fn = await a.createFunction(image);
  await seenAt(c, fn);
  expect([await call(a, fn), await call(c, fn)]).toEqual([200, 200]);

  b = await start("b", there);
  await knowEachOther(a, b, c);
  await seenAt(b, fn);
  const failed = await b.invoke(fn, { do: "exit" });
  expect([failed.status, await failed.json()]).toMatchObject([
    502,
    { reason: "image_unavailable", message: expect.stringContaining("is not on this server's engine") },
  ]);
  // Whatever would bring back a version with it is refused in the same words.
  const { reference } = await registry.pushUnique("team/other:1");
  await api<Function>(a, "PATCH", `/v1/functions/${fn.id}`, { name: "reached", image: reference });
  const old = { path: "/old", function_id: fn.id, version: 1 };
  const route = await api<Route>(a, "POST", "/v1/routes", { path: "/reached", function_id: fn.id, version: 2 });
  const manifest = { version: 1, functions: {}, routes: { "/applied": { function: "reached", version: 1 } } };
  for (const [method, path, body] of [
    ["POST", `/v1/functions/${fn.id}/rollback`, { version: 1 }],
    ["POST", "/v1/routes", old],
    ["PATCH", `/v1/routes/${route.id}`, { split: { version: 1, percent: 10, sticky_header: null } }],
    ["POST", "/v1/apply", manifest],
    ["POST", "/v1/apply?dry_run=true", manifest],
  ] as const) {
    const response = await fetch(a.url + path, { method, body: JSON.stringify(body) });
    expect([path, response.status, await response.json()]).toMatchObject([
      path,
      400,
      {
        reason: "image_invalid",
        message: expect.stringContaining('of other servers ("b") cannot get it: push it to a'),
      },
    ]);
  }
  b.kill("SIGTERM");
  await b.exited;
  await knowEachOther(a, c);
  const kept = await api<Route>(a, "POST", "/v1/routes", old);
  b = await start("b", there);
  await knowEachOther(a, b, c);
  // An existing one stays, and can be changed in other ways.
  await api<Route>(a, "PATCH", `/v1/routes/${kept.id}`, { path: "/older" });
  await api<Function>(a, "DELETE", `/v1/functions/${fn.id}?cascade=true`);
  await here.docker("rmi", "-f", image);
});
