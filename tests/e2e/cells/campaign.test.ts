import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { eventually } from "../../support/pace.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { type KillableEngine, startKillableEngine } from "../faults/support/killable-engine.ts";
import { isWarm, pool } from "../pool/pools.ts";
import { type Figures, figuresOf, kernelObjects } from "./figures.ts";

/** `CELLS=full` is the campaign of contributing.md, with 100,000 calls; a number is that many. */
const ASKED = process.env["CELLS"] === "full" ? 100_000 : Number(process.env["CELLS"] ?? 0);
const FULL = ASKED > 0;
const { calls: CALLS, rounds: ROUNDS } = FULL ? { calls: ASKED, rounds: 20 } : { calls: 160, rounds: 2 };
const CLIENTS = 4;
/** Calls before the figures are taken for the first time: what a gate allocates once, it has by then. */
const WARM_UP = 40;
const TIMEOUT_MS = FULL ? 3_600_000 : 120_000;

/**
 * The most that a container's kernel memory and the gate's own may grow in a round, in KiB. The kernel frees in batches, and
 * late; but what each call of a round left behind would be more.
 */
const SLACK_KIB = { kernel_kib: 4_096, files_kib: 64, gate_kib: 128 } as const;

/** A call that leaves its container as it was, and the status of its answer. */
const KINDS: readonly (readonly [body: object, status: number, of: number])[] = [
  [{ do: "exit" }, 200, 1],
  [{ do: "echo" }, 200, 2],
  [{ do: "write", path: "/left", bytes: 100_000 }, 200, 4],
  [{ do: "create_files", count: 50 }, 200, 8],
  [{ do: "grandchild" }, 200, 8],
  [{ do: "signal" }, 502, 8],
  [{ do: "exit", code: 3 }, 502, 8],
  [{ do: "log", bytes: 10_000 }, 200, 8],
];

let engine: KillableEngine;
let directory: string;
let fn: Function;

beforeAll(async () => {
  engine = await startKillableEngine();
  const image = await fixture("chaos");
  await engine.load(image);
  directory = await mkdtemp(join(tmpdir(), "slipway-cells-"));
  await using server = await start();
  fn = await server.createFunction(image, { isolation: "cell", warm_max: 1, max_concurrency: 1 });
});

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function start(): Promise<SpawnedServer> {
  const server = await SpawnedServer.start({ DATA_PATH: directory, DOCKER_HOST: engine.client.host, WARM_MAX: "1" });
  expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200, 20_000)).toBe(true);
  return server;
}

/** The only container of the function; those of a killed server, or engine, go first. */
async function container(server: SpawnedServer): Promise<string> {
  await pool(server, fn, isWarm);
  const filters = encodeURIComponent(JSON.stringify({ label: [`slipway.function=${fn.id}`] }));
  const list = async () => {
    const listed = await engine.client.json("GET", `/containers/json?all=1&filters=${filters}`);
    return listed as readonly { Id: string }[]; // the engine's own format
  };
  expect(await eventually(async () => (await list()).length === 1, 20_000)).toBe(true);
  return (await list())[0]?.Id ?? "";
}

function kindOf(index: number): (typeof KINDS)[number] {
  const fitting = KINDS.filter(([, , every]) => index % every === 0);
  return fitting[index % fitting.length] ?? [{ do: "exit" }, 200, 1];
}

interface Counts {
  answered: number;
  lost: number;
  wrong: string[];
}

/** Makes that many calls, one after another in each of a few clients; ends early once the server is gone. */
async function load(server: SpawnedServer, count: number, counts: Counts): Promise<void> {
  let next = 0;
  const client = async () => {
    while (next < count) {
      const [body, status] = kindOf(next++);
      const response = await server.invoke(fn, body).catch(() => undefined);
      const text = await response?.text().catch(() => undefined);
      if (response === undefined || text === undefined) counts.lost++;
      else if (response.status === status) counts.answered++;
      else if (response.status === 503) counts.lost++;
      else counts.wrong.push(`${JSON.stringify(body)}: ${response.status} ${text.slice(0, 300)}`);
      if (response === undefined) return;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** The reads in a row that must show the same counts: the gate may be making another cell. */
const READS = 3;

/** Reads a container's figures once its counts stay the same. */
async function steady(id: string): Promise<Figures> {
  const reads: Figures[] = [];
  await eventually(() => {
    reads.push(figuresOf(id));
    const [first, ...others] = reads.slice(-READS).map(({ processes, namespaces, descriptors, mounts }) => {
      return JSON.stringify([processes, namespaces, descriptors, mounts]);
    });
    return reads.length >= READS && others.every((other) => other === first);
  }, 5_000);
  return reads.at(-1) ?? figuresOf(id);
}

/** Waits until a container's figures are those of before, but for the slack; returns the last. */
async function settled(id: string, before: Figures): Promise<Figures> {
  let after = figuresOf(id);
  await eventually(() => growth(before, (after = figuresOf(id))).length === 0, 5_000);
  return after;
}

/** Returns what has grown. */
function growth(before: Figures, after: Figures): readonly string[] {
  const { processes, namespaces, descriptors, mounts, ...memory } = after;
  const counted = { processes, namespaces, descriptors, mounts };
  const more = Object.entries(counted).filter(([name, value]) => value > before[name as keyof typeof counted]); // its own keys
  const larger = Object.entries(memory).filter(([name, value]) => {
    const key = name as keyof typeof memory; // its own keys
    return value > before[key] + SLACK_KIB[key];
  });
  return [...more, ...larger].map(([name, value]) => `${name}: ${before[name as keyof Figures]}, then ${value}`); // its own keys
}

test(
  `${CALLS} calls in cells, the server killed ${ROUNDS} times, the engine too: every figure is flat`,
  async () => {
    const began = performance.now();
    const counts: Counts = { answered: 0, lost: 0, wrong: [] };
    const objects = kernelObjects();
    const grown: string[] = [];
    const taken: Figures[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      await using server = await start();
      await load(server, WARM_UP, counts);
      const id = await container(server);
      const before = await steady(id);
      await load(server, Math.round(CALLS / ROUNDS), counts);
      // The same container: none of these calls ends it.
      expect(await container(server)).toBe(id);
      const after = await settled(id, before);
      taken.push(before, after);
      grown.push(...growth(before, after));
      const last = load(server, WARM_UP, counts);
      if (round % 2 === 0) engine.kill();
      await Bun.sleep(Math.random() * 300);
      server.kill("SIGKILL");
      await last;
      await server.exited;
    }
    await using server = await start();
    expect((await server.invoke(fn, { do: "exit" })).status).toBe(200);
    const id = await container(server);
    const last = figuresOf(id);
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(await eventually(async () => (await ownedContainers(engine.client)).length === 0)).toBe(true);
    console.log(
      JSON.stringify({
        calls: counts.answered,
        lost: counts.lost,
        servers_killed: ROUNDS,
        first: taken[0],
        last,
        kernel_objects: [objects, kernelObjects()],
        seconds: Math.round((performance.now() - began) / 1000),
      }),
    );
    expect(counts.wrong).toEqual([]);
    expect(counts.answered).toBeGreaterThan(CALLS / 2);
    expect(grown).toEqual([]);
  },
  TIMEOUT_MS,
);
