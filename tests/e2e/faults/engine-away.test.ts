import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineProxy, type Fault } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { containersLeft, TestServer } from "../../support/server.ts";
import { eventually, expectWithin, slowdown } from "../../support/pace.ts";
import { expectProblem, openDescriptors, trackTimers, watchHealth } from "./support/invariants.ts";

/** Both on a quiet machine. */
const ENGINE_TIMEOUT_MS = 1_500;
const RECOVERY_MS = 2_000;

let engineTimeoutMs: number;
let proxy: EngineProxy;

beforeAll(async () => {
  await acquireEngine();
  engineTimeoutMs = Math.ceil(ENGINE_TIMEOUT_MS * (await slowdown()));
});

beforeEach(async () => {
  proxy = await EngineProxy.start((await acquireEngine()).socket);
});

afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  expect(await containersLeft()).toEqual([]);
});

function startServer(): Promise<TestServer> {
  return TestServer.start({ DOCKER_HOST: proxy.host, ENGINE_TIMEOUT_MS: String(engineTimeoutMs) });
}

/** Waits until the server is ready, and returns how long that took. */
async function untilReady(server: TestServer): Promise<number> {
  const started = performance.now();
  const isReady = async () => (await fetch(`${server.url}/readyz`)).status === 200;
  expect(await eventually(isReady, engineTimeoutMs + 5_000)).toBe(true);
  return performance.now() - started;
}

const FAULTS: [string, Fault | "absent", RegExp][] = [
  ["absent", "absent", /its socket does not exist.*point DOCKER_HOST at it/],
  ["closing every connection", "reset", /the connection failed/],
  ["hanging", "hang", /did not answer within/],
  ["no engine at all", "garbage", /the connection failed/],
  ["answering 500 to everything", "error", /the proxy says so/],
];

describe("a server whose engine is missing at the start starts, reports it, and recovers by itself", () => {
  test.each(FAULTS)("%s", async (_, fault, cause) => {
    if (fault === "absent") await proxy.close();
    else proxy.use(fault);
    await using server = await startServer();
    await using _health = watchHealth(server.url);
    const readiness = await fetch(`${server.url}/readyz`);
    expect(readiness.status).toBe(503);
    const isTold = async () => cause.test(await (await fetch(`${server.url}/readyz`)).text());
    // The machine may have become quiet since its pace was measured.
    expect(await eventually(isTold, engineTimeoutMs + 5_000)).toBe(true);
    expect(await readiness.json()).toMatchObject({ ready: false, engine: { ok: false }, database: { ok: true } });
    expect((await server.api("GET", "/v1/functions")).body).toEqual({ success: true, message: "success", data: [] });
    const refused = await fetch(`${server.url}/v1/functions`, {
      method: "POST",
      body: JSON.stringify({ image: await fixture("static") }),
    });
    await expectProblem(refused, "engine_unavailable");

    if (fault === "absent") await proxy.listen();
    else proxy.change("pass");
    await expectWithin(await untilReady(server), RECOVERY_MS);
    const fn = await server.createFunction(await fixture("static"));
    expect((await server.invoke(fn)).status).toBe(200);
  });
});

describe("an engine that disappears", () => {
  test.each<[string, Fault | "absent"]>([
    ["dies", "absent"],
    ["hangs", "hang"],
    ["sends garbage", "garbage"],
  ])("and %s during a call gives 503 in time, and its containers are removed when it is back", async (_, fault) => {
    const timers = trackTimers();
    const descriptors = openDescriptors();
    {
      await using server = await startServer();
      await using _health = watchHealth(server.url);
      const fn = await server.createFunction(await fixture("static"), { timeout_ms: 20_000 });
      await server.createRoute("/sleep", fn.id);
      const call = server.invoke(fn, { do: "sleep" });
      expect(await eventually(() => runs(server))).toBe(true);

      if (fault === "absent") await proxy.close();
      else proxy.use(fault);
      await expectProblem(await call, "engine_unavailable");
      const next = await fetch(`${server.url}/r/sleep`, { method: "POST", body: "{}" });
      await expectProblem(next, "engine_unavailable");

      if (fault === "absent") await proxy.listen();
      else proxy.use("pass");
      await expectWithin(await untilReady(server), RECOVERY_MS);
      expect((await server.invoke(fn)).status).toBe(200);
      expect(await containersLeft()).toEqual([]);
    }
    expect(await eventually(() => openDescriptors() <= descriptors)).toBe(true);
    expect(timers.active()).toEqual([]);
    timers.restore();
  });
});

test("a container that was created while the connection was lost is swept after a reconnection", async () => {
  const { client } = await acquireEngine();
  await using server = await startServer();
  const fn = await server.createFunction(await fixture("static"));
  expect((await server.invoke(fn)).status).toBe(200);
  // Else the one of this call may be taken for that of the next.
  expect(await containersLeft()).toEqual([]);
  proxy.change(({ path }) => (path.startsWith("/containers/create") ? "stall" : "pass"));
  const call = server.invoke(fn);
  expect(await eventually(async () => (await ownedContainers(client)).length === 1)).toBe(true);
  await proxy.close();
  await expectProblem(await call, "engine_unavailable");
  expect((await ownedContainers(client)).length).toBe(1);
  proxy.change("pass");
  await proxy.listen();
  expect(await containersLeft()).toEqual([]);
});

test("a call is served after the engine's event stream was cut", async () => {
  await using server = await startServer();
  const fn = await server.createFunction(await fixture("static"));
  expect((await server.invoke(fn)).status).toBe(200);
  await Bun.sleep(600); // a stream that is cut immediately counts as a dead engine
  proxy.use("pass");
  const cut = () => server.log.some((line) => line.includes("engine unavailable"));
  expect(await eventually(cut)).toBe(true);
  expect((await server.invoke(fn)).status).toBe(200);
});

/** Returns whether a function has its request. */
async function runs(server: TestServer): Promise<boolean> {
  return (await (await fetch(`${server.url}/metrics`)).text()).includes('slipway_instances{state="busy"} 1');
}
