import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../../../.ci/engine/engine.ts";
import type { EngineClient } from "../../../../.ci/engine/engine-client.ts";
import { systemClock } from "../../../../lib/clock.ts";
import type { SystemState } from "../../../../lib/domain/system/system.ts";
import { databasePath, openSqliteStore } from "../../../../lib/store/sqlite/store.ts";
import { listeningLog } from "../../../store/sqlite/support/stores.ts";
import { fixture } from "../../../support/images.ts";
import { eventually } from "../../../support/pace.ts";
import { TestServer } from "../../../support/server.ts";
import { expectSuccess } from "../../support/replies.ts";

let directory: string;
let owner: string;
let engine: EngineClient;
let server: TestServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-system-"));
  await using store = openSqliteStore(databasePath(directory), { log: listeningLog().log, clock: systemClock });
  owner = await store.settings.ownerId();
  engine = (await acquireEngine()).client;
});
beforeAll(async () => {
  const budgets = { MAX_INSTANCES: "7", MEMORY_BUDGET: "1GiB", BODY_MEMORY: "64MiB", QUEUE_BYTES: "32MiB" };
  server = await TestServer.start({ DATA_PATH: directory, QUEUE_LIMIT: "11", ...budgets });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const state = async () => expectSuccess(await server.api<SystemState>("GET", "/v1/system"));

test("GET /v1/system has engine, database, and each budget with what is taken of it", async () => {
  const fn = await server.createFunction(await fixture("static"), { memory_bytes: 64 * 1024 ** 2 });
  const hang = new AbortController();
  const call = server.invoke(fn, { do: "hang" }, { signal: hang.signal }).catch(() => undefined);
  await server.api("POST", `/v1/functions/${fn.id}/invoke?async=true&delay_ms=3600000`, { text: "x".repeat(1000) });
  await eventually(async () => (await state()).budgets.instances.used === 1);
  const { engine: checked, database, budgets, unowned, servers } = await state();
  // The database is this server's own.
  expect(servers).toBeNull();
  expect(checked).toEqual({ ok: true, problem: null });
  expect(database).toEqual({ ok: true, problem: null, bytes: expect.any(Number) });
  expect(database.bytes).toBeGreaterThan(10_000);
  expect(budgets).toEqual({
    instances: { used: 1, limit: 7 },
    memory_bytes: { used: 64 * 1024 ** 2, limit: 1024 ** 3 },
    waiting_calls: { used: 0, limit: 11 },
    body_bytes: { used: expect.any(Number), limit: 64 * 1024 ** 2 },
    queue_bytes: { used: expect.any(Number), limit: 32 * 1024 ** 2 },
  });
  expect(budgets.queue_bytes.used).toBeGreaterThan(1_000);
  // A running call, its container and the volume of the gate are known.
  expect(unowned).toEqual([]);
  hang.abort();
  await call;
});

test("GET /v1/system lists what has the server's label on the engine and that it does not know", async () => {
  const image = await fixture("static");
  const labels = { "slipway.owner": owner };
  const json = { "Content-Type": "application/json" };
  const post = (path: string, body: object) =>
    engine.request("POST", path, { body: JSON.stringify(body), headers: json });
  const name = `stray-${owner.slice(0, 8)}`;
  await server.createFunction(image, { volumes: [{ name: `${name}-used`, path: "/data", read_only: false }] });
  await using gone = new AsyncDisposableStack();
  const left = (path: string) => gone.defer(async () => void (await engine.request("DELETE", path)));
  await post(`/containers/create?name=${name}`, { Image: image, Cmd: ["/never"], Labels: labels });
  left(`/containers/${name}?force=1`);
  const change = encodeURIComponent(`LABEL slipway.builder=${owner}`);
  await post(`/commit?container=${name}&repo=${name}&tag=1&changes=${change}`, {});
  left(`/images/${name}:1`);
  await post("/networks/create", { Name: name, Labels: labels });
  left(`/networks/${name}`);
  for (const [volume, label] of [
    ["named", "slipway.volume"],
    ["used", "slipway.volume"],
    ["gate", "slipway.gate"],
  ] as const) {
    await post("/volumes/create", { Name: `${name}-${volume}`, Labels: { [label]: owner } });
    left(`/volumes/${name}-${volume}`);
  }
  // Of another server: none of ours.
  await post("/volumes/create", { Name: `${name}-other`, Labels: { "slipway.volume": "another" } });
  left(`/volumes/${name}-other`);
  const expected = [
    ["container", name],
    ["image", `${name}:1`],
    ["network", name],
    ["volume", `${name}-named`],
    ["volume", `${name}-gate`],
  ];
  // The engine is not asked again for what it said a few seconds ago.
  await eventually(async () => (await state()).unowned?.length === expected.length);
  const found = (await state()).unowned ?? [];
  expect(found.map((one) => [one.kind, one.name])).toEqual(expected);
  for (const { problem } of found)
    expect(problem).toMatch(/remove (it|others) with `docker (rm -f|rmi|network rm|volume rm)`/);
});

test("GET /v1/system says so while the engine is away, and lists nothing then", async () => {
  await using alone = await TestServer.start({ DOCKER_HOST: "unix:///nonexistent/docker.sock" });
  const { engine: checked, database, unowned } = expectSuccess(await alone.api<SystemState>("GET", "/v1/system"));
  expect(checked.ok).toBe(false);
  expect(checked.problem).toContain("its socket does not exist");
  expect([database.ok, unowned]).toEqual([true, null]);
});
