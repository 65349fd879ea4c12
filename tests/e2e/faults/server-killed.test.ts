import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { type Engine, acquireEngine } from "../../../.ci/engine/engine.ts";
import { EngineProxy, type Fault } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { startLookAlikes } from "./support/look-alikes.ts";
import { eventually, expectWithin } from "../../support/pace.ts";

const MIB = 1024 * 1024;

let engine: Engine;
let proxy: EngineProxy;
let directory: string;
let fn: Function;
let owner: string;

beforeAll(async () => {
  engine = await acquireEngine();
  proxy = await EngineProxy.start(engine.socket);
  directory = await mkdtemp(join(tmpdir(), "slipway-killed-"));
  await using server = await start();
  fn = await server.createFunction(await fixture("chaos"));
  expect((await server.invoke(fn, {})).status).toBe(200);
  owner = ownerOf(directory);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

function start(): Promise<SpawnedServer> {
  return SpawnedServer.start({ DATA_PATH: directory, DOCKER_HOST: proxy.host });
}

function ownerOf(dataPath: string): string {
  using database = new Database(join(dataPath, "database.db"), { readonly: true });
  const row = database.query<{ value: string }, []>("select value from settings where key = 'owner_id'").get();
  return row?.value ?? "";
}

/** Returns our containers, running or not. */
async function containers(): Promise<string[]> {
  const filters = ["--filter", `label=slipway.owner=${owner}`, "--filter", "name=^slipway-"];
  return (await engine.docker("ps", "-a", ...filters, "--format", "{{.State}}"))
    .split("\n")
    .filter((state) => state !== "");
}

function quickCheck(dataPath: string): string[] {
  using database = new Database(join(dataPath, "database.db"));
  return database
    .query<{ quick_check: string }, []>("pragma quick_check")
    .all()
    .map((row) => row.quick_check);
}

async function pause(): Promise<boolean> {
  await engine.docker("pause", (await engine.docker("ps", "-q", "--filter", `label=slipway.owner=${owner}`)).trim());
  return true;
}

/** A step of a call at which the server is killed. */
interface Step {
  /** The engine request that is held there, and how. */
  readonly held?: readonly [RegExp, Fault];
  readonly body?: object;
  /** The state of the engine to wait for before the kill. */
  readonly until: (server: SpawnedServer) => Promise<boolean>;
  /** The state in which the container waits for the next start; absent if the gate ends by itself. */
  readonly left?: "created" | "paused";
}

const shows = (state: string) => async () => (await containers()).includes(state);
const runs = async ({ url }: SpawnedServer) =>
  (await (await fetch(`${url}/metrics`)).text()).includes('{state="busy"} 1');
const runsPaused = async (server: SpawnedServer) => (await runs(server)) && (await pause());
const reached = (bytes: number) => async () => proxy.passed >= bytes;

const STEPS: [string, Step][] = [
  [
    "while a container is created",
    { held: [/^\/containers\/create/, "stall"], until: shows("created"), left: "created" },
  ],
  ["between create and attach", { held: [/\/attach/, "hang"], until: shows("created"), left: "created" }],
  ["between create and start", { held: [/\/start/, "hang"], until: shows("created"), left: "created" }],
  ["after the start, before READY is known", { held: [/\/attach/, { download: 120 }], until: shows("running") }],
  [
    "during the request body",
    {
      held: [/\/attach/, { upload: MIB }],
      body: { do: "echo", fill: "x".repeat(3 * MIB) },
      until: reached(MIB),
    },
  ],
  ["while the function runs", { body: { do: "sleep" }, until: runs }],
  ["while its container is paused", { body: { do: "sleep" }, until: runsPaused, left: "paused" }],
  ["while it ignores SIGTERM", { body: { do: "ignore_term" }, until: runs }],
  [
    "while it answers and nobody reads",
    {
      held: [/\/attach/, { download: MIB }],
      body: { do: "response", kind: "big", bytes: 5 * MIB },
      until: reached(MIB),
    },
  ],
];

describe("a server killed leaves nothing behind", () => {
  test.each(STEPS)("%s", async (_, { held, body = {}, until, left }) => {
    proxy.use("pass");
    await using server = await start();
    // The helper that brings the gate is a container too, and may exist before the step.
    const arrived = held && proxy.next(({ path }) => held[0].test(path));
    if (held) proxy.change(({ path }) => (held[0].test(path) ? held[1] : "pass"));
    const call = server.invoke(fn, body).catch(() => undefined);
    await arrived;
    expect(await eventually(() => until(server))).toBe(true);
    server.kill("SIGKILL");
    expect(await server.exited).toBe(137);
    await call;
    // The kernel closes the server's connections; a proxy that stopped reading would not notice.
    proxy.use("pass");
    const wanted = left === undefined ? [] : [left];
    // The removal of the helper that has brought the gate may be under way.
    await eventually(async () => Bun.deepEquals(await containers(), wanted));
    expect(await containers()).toEqual(wanted);

    const restarted = performance.now();
    await using next = await start();
    expect(await eventually(async () => (await fetch(`${next.url}/readyz`)).status === 200)).toBe(true);
    await expectWithin(performance.now() - restarted, 2_000);
    expect(await eventually(async () => (await containers()).length === 0)).toBe(true);
    const records = await fetch(`${next.url}/v1/invocations?status=running`);
    expect(await records.json()).toMatchObject({ data: { invocations: [] } });
    expect(quickCheck(directory)).toEqual(["ok"]);
    expect((await next.invoke(fn, {})).status).toBe(200);
  });
});

test("the sweep at the start leaves another database's containers and look-alikes alone", async () => {
  proxy.use("pass");
  await using other = await TestServer.start();
  const sleeper = await other.createFunction(await fixture("chaos"));
  const elsewhere = other.invoke(sleeper, { do: "sleep", ms: 4_000 });
  await using others = await startLookAlikes(owner);
  {
    await using server = await start();
    proxy.change(({ path }) => (path.includes("/start") ? "hang" : "pass"));
    const call = server.invoke(fn, {}).catch(() => undefined);
    expect(await eventually(shows("created"))).toBe(true);
    server.kill("SIGKILL");
    await call;
  }
  proxy.use("pass");
  await using next = await start();
  expect(await eventually(async () => (await containers()).length === 0)).toBe(true);
  expect((await next.invoke(fn, {})).status).toBe(200);
  expect(await others.running()).toEqual([...others.names]);
  expect((await elsewhere).status).toBe(200);
});
