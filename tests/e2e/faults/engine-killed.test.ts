import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { TestServer } from "../../support/server.ts";
import { eventually, expectWithin, slowdown } from "../../support/pace.ts";
import { expectProblem, watchHealth } from "./support/invariants.ts";
import { full, pool, startOf } from "../pool/pools.ts";
import { type KillableEngine, startKillableEngine } from "./support/killable-engine.ts";

/** On a quiet machine. */
const ENGINE_TIMEOUT_MS = 2_000;

let engineTimeoutMs: number;
let engine: KillableEngine;
let proxy: EngineProxy;
let server: TestServer;
let fn: Function;

beforeAll(async () => {
  engine = await startKillableEngine();
  const image = await fixture("static");
  await engine.load(image);
  engineTimeoutMs = Math.ceil(ENGINE_TIMEOUT_MS * (await slowdown()));
  proxy = await EngineProxy.start(engine.client.socket);
  server = await TestServer.start({ DOCKER_HOST: proxy.host, ENGINE_TIMEOUT_MS: String(engineTimeoutMs) });
  fn = await server.createFunction(image);
  // The first container of a new engine can take longer than the engine's time-out.
  expect(await eventually(async () => (await server.invoke(fn)).status === 200, 30_000)).toBe(true);
});

afterEach(async () => {
  // The readiness may be of a second ago.
  expect(await eventually(async () => (await server.invoke(fn)).status === 200, 10_000)).toBe(true);
  expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200)).toBe(true);
  expect(await eventually(async () => (await ownedContainers(engine.client)).length === 0)).toBe(true);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
});

async function running(count: number): Promise<boolean> {
  return (await (await fetch(`${server.url}/metrics`)).text()).includes(`{state="busy"} ${count}\n`);
}

describe("an engine that is killed", () => {
  test("with running functions gives them 503, and no container is left when it is back", async () => {
    await using _health = watchHealth(server.url);
    const calls = [1, 2, 3].map(() => server.invoke(fn, { do: "ignore_term" }));
    expect(await eventually(() => running(3))).toBe(true);
    engine.kill();
    for (const call of calls) await expectProblem(await call, "engine_unavailable");
  });

  test.each(["/containers/create", "/attach", "/start"])("during %s gets the call an answer in time", async (path) => {
    await using _health = watchHealth(server.url);
    const reached = proxy.next((request) => request.path.includes(path));
    const call = server.invoke(fn);
    await reached;
    engine.kill();
    const started = performance.now();
    const response = await call;
    await expectWithin(performance.now() - started, engineTimeoutMs + 1_500);
    if (response.status !== 200) await expectProblem(response, "engine_unavailable");
  });
});

test("a killed engine costs full pools their instances; when it is back they refill and calls are warm", async () => {
  await using warm = await TestServer.start({ DOCKER_HOST: proxy.host, WARM_MAX: "100" });
  const own = await warm.createFunction(fn.image, { warm_min: 3 });
  const shared = await warm.createFunction(fn.image, { warm_min: 2, share_network: true });
  const filled = () => Promise.all([full(warm, own, 3), full(warm, shared, 2)]);
  await filled();
  // The instances and the network holder.
  let before: readonly string[] = [];
  await eventually(async () => (before = await ownedContainers(engine.client)).length === 6);
  expect(before).toHaveLength(6);
  engine.kill();
  // The engine's containers survive it; the server has lost their streams.
  await Promise.all([own, shared].map((one) => pool(warm, one, ({ ready }) => ready === 0)));
  expect(await eventually(async () => (await fetch(`${warm.url}/readyz`)).status === 200, 10_000)).toBe(true);
  await filled();
  for (const one of [own, shared]) expect(startOf(await warm.invoke(one, { do: "echo" }))).toBe("warm");
  await filled();
  expect(await eventually(async () => (await ownedContainers(engine.client)).length === 6)).toBe(true);
  for (const name of await ownedContainers(engine.client)) expect(before).not.toContain(name);
});

test("an engine that hangs gives new calls 503 within the engine timeout and running calls 504 at their own", async () => {
  await using _health = watchHealth(server.url);
  const limited = await server.createFunction(fn.image, { timeout_ms: 2_500 });
  const call = server.invoke(limited, { do: "ignore_term" });
  expect(await eventually(() => running(1))).toBe(true);
  const thaw = engine.freeze();
  const started = performance.now();
  const refused = await server.invoke(fn);
  const took = performance.now() - started;
  await expectProblem(refused, "engine_unavailable");
  await expectProblem(await call, "function_timeout");
  await expectWithin(took, engineTimeoutMs + 500);
  // From the heartbeat's next failure on, calls are refused at once.
  const isAway = async () => (await fetch(`${server.url}/readyz`)).status === 503;
  expect(await eventually(isAway, engineTimeoutMs + 10_000)).toBe(true);
  thaw();
});
