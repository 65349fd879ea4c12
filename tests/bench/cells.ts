import { EngineClient } from "../../.ci/engine/engine-client.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { compareRates, compareTimes, figure, type Measurement, type Rate, rateOf, show } from "./compare.ts";
import { instanceMib } from "./memory.ts";
import { engineCycle, idle, invoke } from "./sides.ts";
import { hostSpawn } from "./warm.ts";

/** The pause before a call that finds all processes on its way asleep, in milliseconds. */
const ASLEEP_MS = 300;
const CLIENTS = 8;
const SECONDS = 5;
/** Containers at once that keep two cores busy. */
const ENGINE_AT_ONCE = 4;

/**
 * Compares calls in cells with reused processes, with the host's own spawn and with the engine. With an engine that cannot
 * have them it says why, and measures nothing.
 */
export async function cells(bench: Bench): Promise<readonly Measurement[]> {
  const refusal = await refusalOf(bench);
  if (refusal !== undefined) {
    console.error(`There are no rows for cells: ${refusal}`);
    return [];
  }
  return [...(await times(bench)), ...(await rates(bench)), await memory(bench)];
}

/** Returns why this engine cannot have cells; nothing if it can. */
async function refusalOf({ docker, image }: Bench): Promise<string | undefined> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker });
  const body = JSON.stringify({ image, isolation: "cell" });
  const response = await fetch(`${server.url}/v1/functions`, { method: "POST", body });
  const { message } = (await response.json()) as { message: string }; // what every answer has
  return response.status === 201 ? undefined : message;
}

async function times({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  await using host = await hostSpawn();
  const cell = await server.createFunction(image, { isolation: "cell", warm_max: 1 });
  const reused = await server.createFunction(image, { isolation: "process", warm_max: 1 });
  const cellCall = { name: "call in a cell", run: () => invoke(server.url, cell) };
  const reuseCall = { name: "reuse call", run: () => invoke(server.url, reused) };
  const settle = () => Bun.sleep(ASLEEP_MS);
  return [
    await compareTimes("cellReuse", { rounds, perRound: 100, sides: [cellCall, reuseCall] }),
    await compareTimes("cellSpawn", {
      rounds,
      perRound: 10,
      sides: [
        { ...cellCall, settle },
        { ...host.operation, settle },
      ],
    }),
  ];
}

async function rates({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  const client = new EngineClient(docker);
  const calls = (isolation: "cell" | "process", name: string): Rate => ({
    name,
    measure: async () => {
      const fn = await server.createFunction(image, { isolation, warm_max: CLIENTS });
      await rateOf(2, CLIENTS, () => invoke(server.url, fn));
      const rate = await rateOf(SECONDS, CLIENTS, () => invoke(server.url, fn));
      await server.deleteFunction(fn.id);
      return rate;
    },
  });
  const engine: Rate = {
    name: "the engine with bridge",
    measure: async () => {
      await idle(docker);
      return rateOf(SECONDS, ENGINE_AT_ONCE, () => engineCycle(client, image, "bridge"));
    },
  };
  const inCells = calls("cell", "calls in cells");
  return [
    await compareRates("cellEngineRate", rounds, [inCells, engine]),
    await compareRates("cellProcessRate", rounds, [inCells, calls("process", "reuse calls")]),
  ];
}

async function memory({ docker, image, rounds }: Bench): Promise<Measurement> {
  const measured: Record<"cell" | "container", number[]> = { cell: [], container: [] };
  const more: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const isolation of ["cell", "container"] as const) {
      await idle(docker);
      measured[isolation].push(await instanceMib(docker, image, { isolation }));
    }
    more.push((measured.cell[round] ?? Number.NaN) - (measured.container[round] ?? Number.NaN));
  }
  return figure(
    "cellMemory",
    more,
    "MiB",
    (["cell", "container"] as const).map((isolation) => ({
      name: `\`${isolation}\``,
      figure: `${measured[isolation].map(show).join(", ")} MiB`,
    })),
  );
}
