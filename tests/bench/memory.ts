import { readdirSync, readFileSync } from "node:fs";
import { build } from "../../.ci/build.ts";
import { EngineClient } from "../../.ci/engine/engine-client.ts";
import { ownedContainers } from "../support/leaks.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { answered } from "./bare-server.ts";
import { residentBytes, running } from "./binary.ts";
import { figure, type Measurement, show } from "./compare.ts";
import { invoke } from "./sides.ts";

const MIB = 1024 * 1024;
const CALLS = 100_000;
/** Calls before the first figure: caches fill, code is compiled, the heap settles. */
const FIRST_CALLS = 20_000;
const CLIENTS = 4;
const INSTANCES = 50;

/** Measures the memory that calls leave behind in the server, and the memory of waiting instances. */
export async function memory({ docker, image }: Bench): Promise<readonly Measurement[]> {
  return [...(await growth(docker, image)), await instances(docker, image)];
}

/**
 * Makes all calls, without extrapolation, through HTTP to the compiled server: fresh processes in reused containers, a call
 * that does nothing. It reads resident memory after the server has returned unneeded memory, within a minute after
 * the last call; during calls it fluctuates with the garbage collector.
 */
async function growth(docker: string, image: string): Promise<readonly Measurement[]> {
  const executable = await build(process.arch === "arm64" ? "arm64" : "x64");
  // Fewer records are kept than calls are made before the first figure, so that their number does not grow.
  await using server = await running(executable, docker, { RETENTION_COUNT: "1000", LOG_LEVEL: "debug" });
  await answered(`${server.url}/healthz`);
  const fn = await createFunction(server.url, { image, max_calls: 0, warm_max: CLIENTS });
  const run = async (calls: number) => {
    const loop = async () => {
      for (let i = 0; i < calls / CLIENTS; i++) await invoke(server.url, fn);
    };
    await Promise.all(Array.from({ length: CLIENTS }, loop));
    const busy = residentBytes(server.pid);
    await server.logged("memory given back");
    await Bun.sleep(2_000);
    return { busy, idle: residentBytes(server.pid), descriptors: descriptorsOf(server.pid), files: filesOf(server) };
  };
  const before = await run(FIRST_CALLS);
  const after = await run(CALLS);
  await fetch(`${server.url}/v1/functions/${fn.id}`, { method: "DELETE" });
  await Bun.sleep(3_000);
  const containers = (await ownedContainers(new EngineClient(docker))).length;
  const resident = ({ busy, idle }: typeof before) => `${show(idle / MIB)} MiB (${show(busy / MIB)} at the last call)`;
  const sides = [
    { name: `idle after ${FIRST_CALLS}`, figure: resident(before) },
    { name: `idle after ${CALLS} more`, figure: resident(after) },
    {
      name: "left behind",
      figure: `${containers} containers, ${after.files - before.files} files, ${after.descriptors - before.descriptors} descriptors`,
    },
  ];
  return [
    figure("growthByCalls", [(after.idle - before.idle) / MIB], "MiB", sides),
    figure("memoryAfterCalls", [after.idle / MIB], "MiB"),
  ];
}

async function createFunction(url: string, settings: object): Promise<{ readonly id: string }> {
  const reply = await fetch(`${url}/v1/functions`, { method: "POST", body: JSON.stringify(settings) });
  if (reply.status !== 201) throw new Error(`The function was not registered: ${await reply.text()}`);
  return ((await reply.json()) as { data: { id: string } }).data; // a 201 contains the function
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function filesOf({ directory }: { readonly directory: string }): number {
  return readdirSync(directory, { recursive: true }).length;
}

async function instances(docker: string, image: string): Promise<Measurement> {
  return figure("instanceMemory", [await instanceMib(docker, image)], "MiB");
}

/** Returns the memory that each of many waiting instances of a function with these settings takes from the machine. */
export async function instanceMib(docker: string, image: string, settings: object = {}): Promise<number> {
  await using server = await SpawnedServer.start({
    DOCKER_HOST: docker,
    WARM_MAX: "100",
    MAX_INSTANCES: "100",
    MEMORY_BUDGET: "100GiB",
  });
  const client = new EngineClient(docker);
  await Bun.sleep(2_000);
  const before = availableBytes();
  await server.createFunction(image, { ...settings, warm_min: INSTANCES, warm_max: INSTANCES });
  while ((await ownedContainers(client)).length < INSTANCES) await Bun.sleep(100);
  await Bun.sleep(2_000);
  return (before - availableBytes()) / INSTANCES / MIB;
}

function availableBytes(): number {
  return Number(/MemAvailable:\s+(\d+) kB/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) * 1024;
}
