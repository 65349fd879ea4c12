import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineProxy, type Fault } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { containersLeft, TestServer } from "../../support/server.ts";
import { BUSY_TIMEOUT_MS, expectWithin, slowdown } from "../../support/pace.ts";
import { expectProblem, watchHealth } from "./support/invariants.ts";

/** On a quiet machine: far above what one request needs, far below the default. */
const ENGINE_TIMEOUT_MS = 2_000;
/** More requests than any call makes, retries included. */
const MOST_REQUESTS = 40;

let engineTimeoutMs: number;
let proxy: EngineProxy;

beforeAll(async () => {
  proxy = await EngineProxy.start((await acquireEngine()).socket);
  engineTimeoutMs = Math.ceil(ENGINE_TIMEOUT_MS * (await slowdown()));
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

/** Makes the first, the second, ... engine request of a call fail, until the call makes fewer requests. */
async function failEach(
  fault: Fault,
  call: () => Promise<Response>,
  prepare: () => Promise<void> = async () => {},
): Promise<number> {
  for (let n = 1; n < MOST_REQUESTS; n++) {
    await prepare();
    proxy.change(({ number }) => (number === n ? fault : "pass"));
    const started = performance.now();
    const response = await call();
    await expectWithin(performance.now() - started, engineTimeoutMs + 2_500);
    // A failed request that was retried, or that the call did not wait for, does not affect the caller.
    if (response.status !== 200) await expectProblem(response, "engine_unavailable");
    const reached = proxy.count >= n;
    proxy.change("pass");
    const next = await call();
    expect([next.status, await next.text()]).toEqual([200, '{"do":"echo"}']);
    expect(await containersLeft()).toEqual([]);
    if (!reached) return n - 1;
  }
  throw new Error(`A call makes more than ${MOST_REQUESTS} requests`);
}

describe("a call whose n-th engine request fails is answered, and the next one works", () => {
  let server: TestServer;
  let fn: Function;

  beforeAll(async () => {
    server = await TestServer.start({ DOCKER_HOST: proxy.host, ENGINE_TIMEOUT_MS: String(engineTimeoutMs) });
    fn = await server.createFunction(await fixture("static"));
    expect((await server.invoke(fn, { do: "echo" })).status).toBe(200);
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test.each<[string, Fault]>([
    ["reset", "reset"],
    ["garbage", "garbage"],
    ["HTTP 500", "error"],
    ["done and the reply lost", "lose"],
    ["cut in the body of the reply", { cut: 240 }],
    ["hang", "hang"],
    ["done and no reply", "stall"],
  ])(
    "%s",
    async (_, fault) => {
      await using _health = watchHealth(server.url);
      // create, attach, start
      expect(await failEach(fault, () => server.invoke(fn, { do: "echo" }))).toBeGreaterThanOrEqual(3);
    },
    BUSY_TIMEOUT_MS,
  );
});

describe("the first call of a server, with the gate volume empty, whose n-th engine request fails", () => {
  const volumes: string[] = [];

  afterAll(async () => {
    await (await acquireEngine()).docker("volume", "rm", "-f", ...volumes);
  });

  test.each<Fault>(["reset", "lose"])(
    "%s",
    async (fault) => {
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
        fn = await server.createFunction(image);
      };
      const call = async () => {
        if (server === undefined) throw new Error("there is no server");
        return server.invoke(fn, { do: "echo" });
      };
      try {
        // info, the helper's create, stat and unpack, create, attach, start, and the concurrent removal of the helper
        expect(await failEach(fault, call, prepare)).toBeGreaterThanOrEqual(8);
      } finally {
        await server?.[Symbol.asyncDispose]();
      }
    },
    BUSY_TIMEOUT_MS,
  );
});
