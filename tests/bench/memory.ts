import { readdirSync, readFileSync } from "node:fs";
import { EngineClient } from "../support/engine-client.ts";
import { ownedContainers } from "../support/leaks.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { residentBytes } from "./binary.ts";
import { figure, type Measurement, show } from "./compare.ts";
import { invoke } from "./sides.ts";

const MIB = 1024 * 1024;
/** As many as the growth is told for; fewer are scaled up, and said so. */
const CALLS = 100_000;
const MEASURED_CALLS = 20_000;
const CLIENTS = 4;
const INSTANCES = 50;

/** What calls leave behind in the server, and what instances that wait take from the machine. */
export async function memory({ docker, image }: Bench): Promise<readonly Measurement[]> {
  return [await growth(docker, image), await instances(docker, image)];
}

async function growth(docker: string, image: string): Promise<Measurement> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100", RETENTION_COUNT: "1000" });
  const fn = await server.createFunction(image, { max_calls: 0, warm_max: CLIENTS });
  const run = async (calls: number) => {
    const loop = async () => {
      for (let i = 0; i < calls / CLIENTS; i++) await invoke(server.url, fn);
    };
    await Promise.all(Array.from({ length: CLIENTS }, loop));
    await Bun.sleep(3_000);
    return residentBytes(server.pid);
  };
  // The first calls fill caches and let the heap find its size.
  const before = await run(MEASURED_CALLS / 2);
  const descriptors = readdirSync(`/proc/${server.pid}/fd`).length;
  const after = await run(MEASURED_CALLS);
  const left = readdirSync(`/proc/${server.pid}/fd`).length - descriptors;
  await server.deleteFunction(fn.id);
  await Bun.sleep(3_000);
  const containers = (await ownedContainers(new EngineClient(docker))).length;
  return figure(
    { metric: `growth of memory per ${CALLS} calls (from ${MEASURED_CALLS})`, target: 1 },
    [((after - before) / MIB) * (CALLS / MEASURED_CALLS)],
    "MiB",
    [
      { name: "resident before and after", figure: `${show(before / MIB)}, ${show(after / MIB)} MiB` },
      { name: "left behind", figure: `${containers} containers, ${left} descriptors` },
    ],
  );
}

async function instances(docker: string, image: string): Promise<Measurement> {
  await using server = await SpawnedServer.start({
    DOCKER_HOST: docker,
    WARM_MAX: "100",
    MAX_INSTANCES: "100",
    MEMORY_BUDGET: "100GiB",
  });
  const client = new EngineClient(docker);
  await Bun.sleep(2_000);
  const before = availableBytes();
  await server.createFunction(image, { warm_min: INSTANCES, warm_max: INSTANCES });
  while ((await ownedContainers(client)).length < INSTANCES) await Bun.sleep(100);
  await Bun.sleep(2_000);
  const each = (before - availableBytes()) / INSTANCES / MIB;
  return figure({ metric: `memory of an instance that waits, of ${INSTANCES}`, target: 6 }, [each], "MiB");
}

function availableBytes(): number {
  return Number(/MemAvailable:\s+(\d+) kB/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) * 1024;
}
