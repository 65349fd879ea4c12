import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { EngineConnection, EngineError } from "../../../lib/docker/api/connection.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineProxy, type Fault } from "../../support/engine-proxy.ts";
import { expectWithin } from "../../support/pace.ts";

const TIMEOUT_MS = 500;
/** For what the engine itself has to answer: a busy one may take longer than that. */
const PATIENCE_MS = 30_000;
const INFO = { operation: "info", method: "GET", path: "/info" } as const;
const EVENTS = { operation: "events", method: "GET", path: "/events" } as const;

let proxy: EngineProxy;
let connection: EngineConnection;

beforeAll(async () => {
  proxy = await EngineProxy.start((await acquireEngine()).socket);
});

beforeEach(async () => {
  proxy.use("pass");
  connection = await connected(PATIENCE_MS);
});

afterEach(() => {
  connection[Symbol.dispose]();
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

/** Returns a connection whose requests have this many milliseconds, after its first words with the engine. */
async function connected(timeout_ms: number): Promise<EngineConnection> {
  const address = { socketPath: proxy.host.slice("unix://".length) };
  const made = new EngineConnection({ address, timeout_ms, clock: systemClock, metrics: new Metrics() });
  await made.negotiate(PATIENCE_MS);
  return made;
}

/** Returns the error that a request throws; it must throw in time. */
async function thrownBy(request: () => Promise<unknown>): Promise<unknown> {
  const started = performance.now();
  const thrown: unknown = await request().then(
    () => undefined,
    (error: unknown) => error,
  );
  await expectWithin(performance.now() - started, TIMEOUT_MS + 500);
  return thrown;
}

describe("EngineConnection throws engine_unavailable in time, with the cause, the fix and no path, when the engine", () => {
  test.each<[string, Fault, RegExp]>([
    [
      "closes the connection",
      "reset",
      /\(info\): the connection failed \(ECONNRESET\)\. Start it, or point DOCKER_HOST/,
    ],
    ["never answers", "hang", /\(info\): it did not answer within 500 ms/],
    ["sends garbage", "garbage", /\(info\): the connection failed/],
    ["dies before the head of its reply", { cut: 20 }, /\(info\): the connection failed/],
    // docker-modem's own way to read a reply would never end here.
    [
      "dies in the middle of its reply",
      { cut: 400 },
      /\(info\): the connection was c(?:ut|losed) in the middle of a reply/,
    ],
  ])("%s", async (_, fault, message) => {
    using impatient = await connected(TIMEOUT_MS);
    proxy.change(fault);
    const thrown = await thrownBy(() => (fault === "hang" ? impatient : connection).request(INFO));
    expect(thrown).toMatchObject({
      reason: "engine_unavailable",
      retry_after_s: 2,
      message: expect.stringMatching(message),
    });
    expect(String(thrown)).not.toContain(proxy.host.slice("unix://".length));
    // The next request has a connection of its own.
    proxy.change("pass");
    expect((await connection.request(INFO)).status).toBe(200);
  });

  test("is not there", async () => {
    await proxy.close();
    expect(await thrownBy(() => connection.request(INFO))).toMatchObject({
      message: expect.stringContaining("its socket does not exist"),
    });
    await proxy.listen();
  });
});

describe("EngineConnection turns an answer of 400 and above into an EngineError, with the engine's message", () => {
  test.each([
    ["in a reply", () => connection.request(INFO)],
    ["instead of a stream", () => connection.stream(EVENTS)],
    ["instead of an attach stream", () => connection.attach("x")],
    ["instead of bytes", () => connection.bytes(INFO, 1_000)],
  ])("%s", async (_, request) => {
    proxy.change("error");
    const thrown = await thrownBy(request);
    expect(thrown).toBeInstanceOf(EngineError);
    expect(thrown).toMatchObject({ status: 500, message: "the proxy says so" });
  });

  test("for an unknown container", async () => {
    const unknown = { operation: "container start", method: "POST", path: "/containers/none/start" } as const;
    expect(await thrownBy(() => connection.request(unknown))).toMatchObject({
      status: 404,
      message: "No such container: none",
    });
    expect(await thrownBy(() => connection.attach("none"))).toMatchObject({ status: 404 });
  });
});

test("EngineConnection survives a redirect, which docker-modem would follow to a host that does not exist", async () => {
  expect(await thrownBy(() => connection.request({ ...INFO, path: "/containers//json" }))).toMatchObject({
    reason: "engine_unavailable",
  });
});

test("EngineConnection.stream ends with an error when the engine goes away, not as if it were complete", async () => {
  const stream = await connection.stream(EVENTS);
  const read = Array.fromAsync(stream).then(
    () => "done",
    () => "failed",
  );
  proxy.use("pass");
  expect(await read).toBe("failed");
});

test("EngineConnection refuses a reply over its limit", async () => {
  expect(await thrownBy(() => connection.bytes(INFO, 10))).toMatchObject({
    message: expect.stringContaining("over 10 bytes"),
  });
});

test("EngineConnection ends open requests when it is disposed of", async () => {
  const stream = await connection.stream(EVENTS);
  const read = Array.fromAsync(stream).catch(() => "failed");
  proxy.change("hang");
  const asked = proxy.next(() => true);
  const waiting = thrownBy(() => connection.request({ ...INFO, timeout_ms: 60_000 }));
  await asked;
  connection[Symbol.dispose]();
  expect(await waiting).toMatchObject({
    reason: "engine_unavailable",
    message: expect.stringContaining("the server is stopping"),
  });
  expect(await read).toBe("failed");
});

test("EngineConnection ends a request with its caller's signal", async () => {
  proxy.change("hang");
  const asked = proxy.next(() => true);
  const leaving = new AbortController();
  const waiting = thrownBy(() => connection.request({ ...INFO, timeout_ms: 60_000, signal: leaving.signal }));
  await asked;
  leaving.abort(new Error("gone"));
  expect(await waiting).toMatchObject({ message: expect.stringContaining("gone") });
});
