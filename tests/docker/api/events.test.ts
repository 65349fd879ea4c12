import { afterEach, beforeEach, expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { EngineConnection } from "../../../lib/docker/api/connection.ts";
import { EngineEvents } from "../../../lib/docker/api/events.ts";
import { createLogger } from "../../../lib/log.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";

const HEARTBEAT_MS = 5_000;
const RETRY_MS = 500;
const CONNECT_MS = 1_000;

let proxy: EngineProxy;
let clock: FakeClock;
let owner: string;
let events: EngineEvents;
let connections: number;
let created: string[];
/** Settles at the next connection. */
let connected: PromiseWithResolvers<void>;

beforeEach(async () => {
  proxy = await EngineProxy.start((await acquireEngine()).socket);
  clock = new FakeClock();
  owner = crypto.randomUUID();
  connections = 0;
  created = [];
  connected = Promise.withResolvers();
  const address = { socketPath: proxy.host.slice("unix://".length) };
  events = new EngineEvents({
    // Its deadlines are real; those of the watch follow the test's clock.
    connection: new EngineConnection({ address, timeout_ms: 5_000, clock: systemClock, metrics: new Metrics() }),
    owner,
    clock,
    log: createLogger({ level: "error", format: "json", clock, write: () => undefined }),
    onConnected: async () => {
      connections++;
      connected.resolve();
      connected = Promise.withResolvers();
    },
    onCreated: ({ name }) => created.push(name),
  });
});

afterEach(async () => {
  await events[Symbol.asyncDispose]();
  expect(clock.pending).toBe(0);
  await proxy[Symbol.asyncDispose]();
});

function nextRequest(path: string): Promise<unknown> {
  return proxy.next((request) => request.path.startsWith(path));
}

test("EngineEvents has a problem until it is connected, and again when the stream is gone", async () => {
  expect(events.problem).toMatchObject({ reason: "engine_unavailable" });
  events.start();
  await events.settled;
  expect(events.problem).toBeUndefined();
  await proxy.close();
  // Cut at once, it is taken for dead and asked again after a while.
  while (events.problem === undefined) await settled();
  await proxy.listen();
  await clock.advance(RETRY_MS);
  await connected.promise;
  expect(events.problem).toBeUndefined();
  expect(connections).toBe(2);
});

test("EngineEvents tries a silent engine again beside the first attempt; calls at a start wait, and it counts as dead", async () => {
  proxy.change("hang");
  const asked = nextRequest("/_ping");
  events.start();
  await asked;
  let isSettled = false;
  void events.settled.then(() => (isSettled = true));
  const again = nextRequest("/_ping");
  await clock.advance(CONNECT_MS);
  await again;
  expect(events.problem?.message).toContain("did not answer within 1000 ms");
  await settled();
  expect(isSettled).toBe(false);
  proxy.change("pass");
  await clock.advance(CONNECT_MS);
  await events.settled;
  expect([events.problem, connections]).toEqual([undefined, 1]);
});

test("EngineEvents tells at once that an engine is dead if nothing takes connections, or if it was there and hangs now", async () => {
  await proxy.close();
  events.start();
  await events.settled;
  expect(events.problem?.message).toContain("its socket does not exist");
  await proxy.listen();
  await clock.advance(RETRY_MS);
  await connected.promise;
  // Long enough for the loss of the stream to mean nothing yet.
  await clock.advance(RETRY_MS + 1);
  const asked = nextRequest("/_ping");
  proxy.use("hang");
  await asked;
  const { settled: isKnown } = events;
  await clock.advance(CONNECT_MS);
  await isKnown;
  expect(events.problem?.message).toContain("did not answer within 1000 ms");
});

test("EngineEvents notices an engine that hangs by its heartbeat, and keeps one heartbeat only", async () => {
  events.start();
  await events.settled;
  proxy.change("hang");
  const pinged = nextRequest("/_ping");
  await clock.advance(HEARTBEAT_MS);
  await pinged;
  // The stream is lost while a heartbeat waits for its answer: it must not continue alongside the next one.
  const again = connected.promise;
  proxy.use("pass");
  await again;
  await settled();
  expect(clock.pending).toBe(1);
});

test("EngineEvents reports the ends of its owner's containers, and new ones", async () => {
  const engine = await acquireEngine();
  events.start();
  await events.settled;
  const labels = ["--label", `slipway.owner=${owner}`, "--network", "none"];
  const image = await fixture("chaos");
  const run = (name: string) =>
    engine.docker("run", "-d", "--name", name, ...labels, "--entrypoint", "sleep", image, "1000");
  const id = (await run(`slipway-${owner}`)).trim();
  const other = (await run(`other-${owner}`)).trim();
  const died = events.containerEnd(id, "died", 10_000);
  const gone = events.containerEnd(id, "gone", 10_000);
  await engine.docker("rm", "-f", id, other);
  expect(await died).toMatchObject({ died: true, oom: false });
  expect(await gone).toMatchObject({ gone: true });
  expect(created).toEqual([`slipway-${owner}`]);
});
