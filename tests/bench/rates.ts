import { EngineClient } from "../../.ci/engine/engine-client.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { compareRates, type Measurement, rateOf } from "./compare.ts";
import { engineCycle, idle, invoke } from "./sides.ts";

const SECONDS = 10;
/** Enough to keep two cores busy. */
const AT_ONCE = 4;

/** Compares the fresh containers that can be called per second with those that the engine can create, start, await and remove. */
export async function rates({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  const client = new EngineClient(docker);
  const engineRate = (network: string) => ({
    name: `the engine with ${network}`,
    measure: async () => {
      await idle(docker);
      return rateOf(SECONDS, AT_ONCE, () => engineCycle(client, image, network));
    },
  });
  const calls = async (settings: object, name: string) => ({
    name,
    measure: async () => {
      const fn = await server.createFunction(image, { warm_max: 4, ...settings });
      // Counted after the pool is drained: then calls are as fast as refills.
      await rateOf(3, AT_ONCE, () => invoke(server.url, fn));
      const rate = await rateOf(SECONDS, AT_ONCE, () => invoke(server.url, fn));
      await server.deleteFunction(fn.id);
      return rate;
    },
  });
  return [
    await compareRates("freshRate", rounds, [await calls({}, "fresh calls"), engineRate("bridge")]),
    await compareRates("freshRateShared", rounds, [
      await calls({ share_network: true }, "fresh calls"),
      engineRate("none"),
    ]),
    await compareRates("reuseRate", rounds, [
      {
        name: "reuse calls",
        measure: async () => {
          const fn = await server.createFunction(image, { max_calls: 0, warm_max: 8 });
          await rateOf(2, 8, () => invoke(server.url, fn));
          const rate = await rateOf(5, 8, () => invoke(server.url, fn));
          await server.deleteFunction(fn.id);
          return rate;
        },
      },
      {
        name: "spawn loops",
        measure: () => rateOf(5, 2, () => Bun.spawn(["/bin/true"]).exited),
      },
    ]),
  ];
}
