import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { EngineProxy, type Fault } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { containersLeft, TestServer } from "../../support/server.ts";
import { eventually, expectWithin, slowdown } from "../../support/pace.ts";
import { containersOf } from "../pool/pools.ts";
import { expectProblem, watchHealth } from "./support/invariants.ts";

/** On a quiet machine: far above what one request needs, far below the default. */
const ENGINE_TIMEOUT_MS = 2_000;
/** More requests than any call makes, retries included. */
const MOST_REQUESTS = 40;

/** Faults are waited for side by side: each place has a server, a function and a proxy of its own. */
const PLACES = 4;
/** Of those, for faults that show at once: each place makes one call in vain, when there is no further request to fail. */
const QUICK_PLACES = 2;

let engine: Engine;
let engineTimeoutMs: number;

beforeAll(async () => {
  engine = await acquireEngine();
  engineTimeoutMs = Math.ceil(ENGINE_TIMEOUT_MS * (await slowdown()));
});

interface Place {
  readonly proxy: EngineProxy;
  readonly call: () => Promise<Response>;
  /** Runs before each fault. */
  readonly prepare?: () => Promise<void>;
  /** Waits until the containers of the calls are gone; returns those that are left. */
  readonly left: () => Promise<readonly string[]>;
}

/** Makes the first, the second, ... engine request of a call fail, until the call makes fewer requests; returns how many. */
async function failEach(fault: Fault, places: readonly Place[]): Promise<number> {
  let next = 1;
  let most = MOST_REQUESTS;
  const failSome = async (place: Place) => {
    while (next <= most) {
      const n = next++;
      if (n >= MOST_REQUESTS) throw new Error(`A call makes more than ${MOST_REQUESTS} requests`);
      if (!(await failOne(fault, n, place))) most = Math.min(most, n - 1);
    }
  };
  await Promise.all(places.map(failSome));
  return most;
}

/** Makes the n-th engine request of a call fail; returns whether the call made so many. */
async function failOne(fault: Fault, n: number, { proxy, call, prepare, left }: Place): Promise<boolean> {
  await prepare?.();
  // Now and then the server asks whether the engine is there. That is no request of a call, and has tests of its own.
  const isOfCall = (path: string) => !/^\/(?:_ping|events)\b/.test(path);
  proxy.change(({ number, path }) => (number === n && isOfCall(path) ? fault : "pass"));
  const started = performance.now();
  const response = await call();
  await expectWithin(performance.now() - started, engineTimeoutMs + 2_500);
  // A failed request that was retried, or that the call did not wait for, does not affect the caller.
  if (response.status !== 200) await expectProblem(response, "engine_unavailable");
  const reached = proxy.count >= n;
  proxy.change("pass");
  const after = await call();
  expect([after.status, await after.text()]).toEqual([200, '{"do":"echo"}']);
  expect(await left()).toEqual([]);
  return reached;
}

/** Waits until the server watches the engine: the faults are meant for the requests of a call. */
async function connected({ url }: TestServer): Promise<void> {
  const isUp = async () => (await (await fetch(`${url}/metrics`)).text()).includes("slipway_engine_up 1");
  expect(await eventually(isUp)).toBe(true);
}

describe("a call whose n-th engine request fails is answered, and the next one works", () => {
  const held = new AsyncDisposableStack();
  const places: Place[] = [];
  const urls: string[] = [];

  beforeAll(async () => {
    for (let place = 0; place < PLACES; place++) {
      const proxy = held.use(await EngineProxy.start(engine.socket));
      const variables = { DOCKER_HOST: proxy.host, ENGINE_TIMEOUT_MS: String(engineTimeoutMs) };
      const server = held.use(await TestServer.start(variables));
      const fn = await server.createFunction(await fixture("static"));
      expect((await server.invoke(fn, { do: "echo" })).status).toBe(200);
      const left = async () => {
        let ids: readonly string[] = [];
        await eventually(async () => (ids = await containersOf(fn)).length === 0);
        return ids;
      };
      places.push({ proxy, call: () => server.invoke(fn, { do: "echo" }), left });
      urls.push(server.url);
    }
  });

  afterAll(() => held.disposeAsync());

  test.each<[string, Fault]>([
    ["reset", "reset"],
    ["garbage", "garbage"],
    ["HTTP 500", "error"],
    ["done and the reply lost", "lose"],
    ["cut in the body of the reply", { cut: 240 }],
    ["hang", "hang"],
    ["done and no reply", "stall"],
  ])("%s", async (_, fault) => {
    await using watched = new AsyncDisposableStack();
    for (const url of urls) watched.use(watchHealth(url));
    const isQuick = fault !== "hang" && fault !== "stall";
    // create, attach, start
    expect(await failEach(fault, isQuick ? places.slice(0, QUICK_PLACES) : places)).toBeGreaterThanOrEqual(3);
    expect(await containersLeft()).toEqual([]);
  });
});

describe("the first call of a server, with the gate volume empty, whose n-th engine request fails", () => {
  const volumes: string[] = [];
  let proxy: EngineProxy;

  beforeAll(async () => {
    proxy = await EngineProxy.start(engine.socket);
  });

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await engine.docker("volume", "rm", "-f", ...volumes);
  });

  test.each<Fault>(["reset", "lose"])("%s", async (fault) => {
    const image = await fixture("static");
    let server: TestServer | undefined;
    let fn: Pick<Function, "id"> = { id: "" };
    const prepare = async () => {
      await server?.[Symbol.asyncDispose]();
      const volume = `slipway-test-${crypto.randomUUID()}`;
      volumes.push(volume);
      proxy.change("pass");
      server = await TestServer.start({
        DOCKER_HOST: proxy.host,
        CONTEXT_NAME: volume,
        ENGINE_TIMEOUT_MS: String(engineTimeoutMs),
      });
      await connected(server);
      fn = await server.createFunction(image);
    };
    const call = async () => {
      if (server === undefined) throw new Error("there is no server");
      return server.invoke(fn, { do: "echo" });
    };
    try {
      // info, the helper's create, stat and unpack, create, attach, start, and the concurrent removal of the helper
      expect(await failEach(fault, [{ proxy, call, prepare, left: containersLeft }])).toBeGreaterThanOrEqual(8);
    } finally {
      await server?.[Symbol.asyncDispose]();
    }
  });
});
