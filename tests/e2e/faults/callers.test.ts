import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { type Engine, acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { containersLeft, TestServer } from "../../support/server.ts";
import { eventually, expectWithin, slowdown } from "../../support/pace.ts";
import { expectProblem, watchHealth } from "./support/invariants.ts";

/** The time within which the function must be killed and its container gone. */
const GONE_MS = 1_000;
/** The delay with which a timeout may be answered. */
const LATE_MS = 500;

let engine: Engine;
let proxy: EngineProxy;
let server: TestServer;
let image: string;

beforeAll(async () => {
  engine = await acquireEngine();
  proxy = await EngineProxy.start(engine.socket);
  server = await TestServer.start({ DOCKER_HOST: proxy.host, MAX_INSTANCES: "2" });
  image = await fixture("chaos");
  const fn = await server.createFunction(image);
  // With retries: an engine that is short of processor time may be taken for a dead one.
  expect(await eventually(async () => (await server.invoke(fn)).status === 200)).toBe(true);
});

afterEach(async () => {
  expect(await containersLeft()).toEqual([]);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

async function busy(count: number): Promise<boolean> {
  return (await (await fetch(`${server.url}/metrics`)).text()).includes(`{state="busy"} ${count}\n`);
}

async function lastRecord(fn: Function) {
  const { body } = await server.api<InvocationPage>("GET", `/v1/invocations?function_id=${fn.id}`);
  return body.data.invocations[0];
}

describe("a client that disconnects", () => {
  /** Disconnects at the given moment and waits until the container is gone and the record is written. */
  async function leave(fn: Function, body: object, moment: () => Promise<unknown>) {
    await using _health = watchHealth(server.url);
    const client = new AbortController();
    const call = server.invoke(fn, body, { signal: client.signal }).catch(() => undefined);
    await moment();
    const left = performance.now();
    client.abort();
    expect(await call).toBeUndefined();
    expect(await eventually(async () => ((await lastRecord(fn))?.finished_at ?? null) !== null)).toBe(true);
    expect(await eventually(async () => (await ownedContainers(engine.client)).length === 0)).toBe(true);
    const gone = performance.now() - left;
    return { gone, record: await lastRecord(fn) };
  }

  test("during the run: the function is killed, and the record says cancelled", async () => {
    const fn = await server.createFunction(image);
    const { gone, record } = await leave(fn, { do: "ignore_term" }, () => eventually(() => busy(1)));
    await expectWithin(gone, GONE_MS);
    expect(record).toMatchObject({ status: "cancelled", reason: "cancelled", start: "cold" });
  });

  test("while its container is created or starts: the same", async () => {
    for (const step of ["/containers/create", "/attach", "/start"]) {
      const fn = await server.createFunction(image);
      const { gone, record } = await leave(fn, { do: "ignore_term" }, () =>
        proxy.next(({ path }) => path.includes(step)),
      );
      // The engine completes the start; the new container finds its stdin closed.
      await expectWithin(gone, GONE_MS + 500);
      expect(record).toMatchObject({ status: "cancelled", reason: "cancelled" });
    }
  });

  test("while it waits for a place: nothing is started", async () => {
    // Long enough for both containers to start before one has ended.
    const ms = 1_500 * (await slowdown());
    const fn = await server.createFunction(image, { timeout_ms: ms + 30_000 });
    const holders = [1, 2].map(() => server.invoke(fn, { do: "sleep", ms }));
    expect(await eventually(() => busy(2))).toBe(true);
    const client = new AbortController();
    const other = await server.createFunction(image);
    const call = server.invoke(other, {}, { signal: client.signal }).catch(() => undefined);
    const waits = async () =>
      (await (await fetch(`${server.url}/metrics`)).text()).includes("slipway_queued_calls 1\n");
    expect(await eventually(waits)).toBe(true);
    let created = 0;
    proxy.change(({ path }) => (path.startsWith("/containers/create") && created++, "pass"));
    client.abort();
    await call;
    expect(await eventually(async () => (await lastRecord(other))?.status === "cancelled")).toBe(true);
    for (const holder of holders) expect((await holder).status).toBe(200);
    expect(created).toBe(0);
  });
});

describe("a function past its timeout gets SIGTERM, 2 s, SIGKILL, and its caller 504 in time", () => {
  const timeout_ms = 700;

  test.each<[string, object, object, object]>([
    ["that obeys SIGTERM", { do: "sleep" }, {}, { exit_code: null, signal: 15 }],
    ["that ignores SIGTERM", { do: "ignore_term" }, {}, { exit_code: null, signal: 9 }],
    ["that burns CPU time", { do: "busy_loop" }, {}, { exit_code: null, signal: 15 }],
    ["that forks endlessly", { do: "fork_bomb", forever: 1 }, { pids: 64 }, {}],
  ])("%s", async (_, body, settings, end) => {
    await using _health = watchHealth(server.url);
    const fn = await server.createFunction(image, { ...settings, timeout_ms });
    const response = await server.invoke(fn, body);
    const id = response.headers.get("x-request-id") ?? "";
    const { start_ms, queue_ms } = await server.invocation(id);
    await expectWithin((await server.invocation(id)).run_ms ?? Infinity, timeout_ms + LATE_MS);
    expect([start_ms, queue_ms]).toEqual([expect.any(Number), expect.any(Number)]);
    await expectProblem(response, "function_timeout", /timeout of 700 ms/);
    expect(await containersLeft()).toEqual([]);
    const record = await server.invocation(id);
    expect(record).toMatchObject({ status: "timed_out", reason: "function_timeout", ...end });
  });

  test("and the record has the output of its SIGTERM handler, and its exit code", async () => {
    const script = "trap 'echo last words; exit 3' TERM; while :; do sleep 0.05; done";
    const container = (await engine.docker("create", image)).trim();
    const entrypoint = `ENTRYPOINT ${JSON.stringify(["sh", "-c", script])}`;
    const trapping = (await engine.docker("commit", "--change", entrypoint, container)).trim();
    await engine.docker("rm", container);
    const fn = await server.createFunction(trapping, { timeout_ms });
    const response = await server.invoke(fn);
    const id = response.headers.get("x-request-id") ?? "";
    await expectProblem(response, "function_timeout");
    expect(await containersLeft()).toEqual([]);
    expect(await server.invocation(id)).toMatchObject({ status: "timed_out", exit_code: 3, signal: null });
    const words = { stream: "stdout" as const, text: "last words\n", time: expect.any(String) };
    expect((await server.logs(id)).entries).toContainEqual(words);
    await engine.docker("rmi", "-f", trapping);
  });
});
