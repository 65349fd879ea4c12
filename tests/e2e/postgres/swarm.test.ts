import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { SystemState } from "../../../lib/domain/system/system.ts";
import { build } from "../../../.ci/build.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { copyImages } from "../../../.ci/engine/image-tree.ts";
import { eventsOf } from "../../support/events.ts";
import { fixture } from "../../support/images.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { BINARY } from "../../support/program.ts";
import { Balancer } from "./support/balancer.ts";
import { call, CLIENTS, endsOf, Load, type Outcome, submit, type Target } from "./support/load.ts";
import { Swarm } from "./swarm/swarm.ts";
import { importServerImage } from "./swarm/server-image.ts";

const TIMEOUT_MS = 300_000;
const LONG_MS = 120_000;
const PLACES = [1, 2, 3];
const KEY = "key-of-this-test-key-of-this-test";
/** `stop_grace_period` of the stack. */
const GRACE_MS = 45_000;
/** After the first, a client's calls are quick or last for a second. */
const LOAD = { pause_ms: 20, more: (client: number) => (client === 0 ? { do: "sleep", ms: 1_000 } : {}) };
/** A call and work that are under way when their machine vanishes, and a time in which the call has been given up. */
const SLOW_MS = 20_000;
const WORK_MS = 4_000;
const LOST_MS = 45_000;

let swarm: Swarm;
let balancer: Balancer;
/** The image of the functions, in the Swarm's registry. */
let image: string;
/** A function behind the balancer, and one for slow calls. */
let target: Target;
let slow: Target;
/** All invocations whose 202 has arrived. */
const submitted: string[] = [];
const held = new AsyncDisposableStack();

beforeAll(async () => {
  const binary = BINARY ?? (await build(process.arch === "arm64" ? "arm64" : "x64"));
  swarm = held.use(await Swarm.start(PLACES.length));
  const engines = swarm.nodes.map(({ client }) => client);
  const server = `${swarm.registry.host}/slipway`;
  await importServerImage(engines, server, binary);
  await swarm.deploy(server, KEY);
  const [first] = engines as [(typeof engines)[number]]; // of three
  const chaos = await fixture("chaos");
  await copyImages((await acquireEngine()).client, first, [chaos]);
  image = (await swarm.registry.push(chaos, "team/chaos:1", first)).reference;
  balancer = held.use(await Balancer.start(swarm.nodes.map(({ address }) => `${address}:9999`)));
  for (const place of PLACES) await balancer.sendsTo(place);
  target = await made({ max_calls: 10_000, warm_min: 1, timeout_ms: 15_000 });
  slow = await made({ timeout_ms: 25_000 });
}, TIMEOUT_MS);

afterAll(() => held[Symbol.asyncDispose]());

function urlOf(place: number): string {
  return `http://${swarm.node(place).address}:9999`;
}

/** Makes a function at the first node. */
async function made(settings: Partial<Function>): Promise<Target> {
  const { id } = await api<Function>(urlOf(1), "POST", "/v1/functions", { image, ...settings });
  return { url: balancer.url, key: KEY, id };
}

/** Returns the kinds of events of an invocation, as a node tells them, up to its first output. */
async function eventsUntilOutput(place: number, id: string): Promise<readonly string[]> {
  const headers = { authorization: `Bearer ${KEY}` };
  const seen: string[] = [];
  for await (const { event } of eventsOf(await fetch(`${urlOf(place)}/v1/invocations/${id}/events`, { headers }))) {
    seen.push(event);
    if (event === "log") break;
  }
  return seen;
}

async function api<T>(url: string, method: string, path: string, body?: object): Promise<T> {
  const headers = { authorization: `Bearer ${KEY}` };
  const response = await fetch(url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { data: T }).data; // an envelope
}

/** Calls a function at one node only, once that knows it. */
async function callAt(place: number, of: Target): Promise<string> {
  let text = "";
  const isCalled = async () => {
    const outcome = await call({ ...of, url: urlOf(place) }, "{}", false);
    text = outcome.text;
    return outcome.status === 200;
  };
  expect(await eventually(isCalled, LONG_MS)).toBe(true);
  return text;
}

/** Waits until so many more calls have been answered. */
async function answers(load: Load, more: number): Promise<void> {
  const enough = load.answered + more;
  expect(await eventually(() => load.answered >= enough, LONG_MS)).toBe(true);
}

/** Ends a load, and returns the calls that failed. */
async function stopped(load: Load): Promise<readonly Outcome[]> {
  await load.stop();
  submitted.push(...load.submitted);
  return load.failures;
}

/** Checks that calls of a load were lost with so many servers and nothing else: 502, or the connection ended. */
function expectLost(failures: readonly Outcome[], servers: number): void {
  expect(failures.filter(({ status }) => status !== 502 && status !== null)).toEqual([]);
  expect(failures.length).toBeLessThanOrEqual(servers * CLIENTS);
}

function sleep(ms: number): string {
  return JSON.stringify({ do: "sleep", ms });
}

test(
  "docker stack deploy of swarm-stack.yml: a server on each node, which knows the functions of the others and reaches them",
  async () => {
    for (const place of PLACES) expect(await callAt(place, target)).toBe("{}");
    await swarm.hasServers(PLACES.length);
    const { servers } = await api<SystemState>(urlOf(1), "GET", "/v1/system");
    const living = (servers ?? []).filter((one) => one.living);
    expect(living.map(({ id }) => id).toSorted()).toEqual(["node-1", "node-2", "node-3"]);
    expect(new Set(living.map(({ engine }) => engine)).size).toBe(PLACES.length);
    const id = await submit(slow, sleep(SLOW_MS));
    // Two of them ask the one that runs it, over the stack's network.
    for (const place of PLACES) expect(await eventsUntilOutput(place, id)).toContain("log");
    expect((await api<Invocation>(urlOf(3), "POST", `/v1/invocations/${id}/cancel`)).status).toBe("cancelled");
  },
  TIMEOUT_MS,
);

test(
  "a function sees the address of the balancer's client",
  async () => {
    const tell = await made({
      entrypoint: ["sh", "-c"],
      command: ["cat $CONTEXT_PATH/request.meta.json > $CONTEXT_PATH/response.json"],
    });
    await callAt(1, tell);
    const { text } = await call(tell, "{}", false);
    expect(text).toContain('"client_address":"127.0.0.1"');
  },
  TIMEOUT_MS,
);

test(
  "docker node update --availability drain: the server leaves within its grace, and no call fails",
  async () => {
    const load = new Load(target, LOAD);
    await answers(load, 20);
    const before = (await swarm.container(2)) ?? "";
    const exit = swarm.node(2).docker(["wait", before]);
    const began = performance.now();
    await swarm.update(2, "drain");
    expect((await exit).trim()).toBe("0");
    await expectWithin(performance.now() - began, GRACE_MS);
    await answers(load, 20);
    await swarm.update(2, "active");
    await balancer.sendsTo(2);
    expect(await swarm.container(2)).not.toBe(before);
    await answers(load, 20);
    expect(await stopped(load)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a machine that vanishes, and a server that is killed: the others serve, no calls fail but those that they had, and each 202 is kept",
  async () => {
    const calls: Promise<Outcome>[] = [];
    while ((await balancer.callsAt(3)) === 0) {
      calls.push(call(slow, sleep(SLOW_MS), false));
      await Bun.sleep(100);
    }
    const load = new Load(target, LOAD);
    const own: string[] = [];
    while (!(await swarm.attemptedBy(3)).some((id) => own.includes(id))) own.push(await submit(target, sleep(WORK_MS)));
    submitted.push(...own);
    await swarm.network.cut(3);
    await balancer.leavesOut(3);
    await answers(load, 100);
    await swarm.killServer(1);
    await balancer.sendsTo(1);
    await swarm.misses(3);
    const ended = await Promise.all(calls);
    const lost = ended.filter(({ status }) => status !== 200);
    expect(lost.length).toBeGreaterThan(0);
    for (const { ms } of lost) await expectWithin(ms, LOST_MS);
    expectLost(await stopped(load), 2);
    expect(await endsOf(target, submitted)).toEqual({ succeeded: submitted.length });
    const records = await Promise.all(own.map((id) => api<Invocation>(urlOf(1), "GET", `/v1/invocations/${id}`)));
    expect(Math.max(...records.map(({ attempts }) => attempts))).toBeGreaterThan(1);
  },
  TIMEOUT_MS,
);
