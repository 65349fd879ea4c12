import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { compareTimes, type Measurement } from "./compare.ts";
import { dockerRun, idle, invoke, warm } from "./sides.ts";

/** A call that has to start its container, beside the `docker` command doing the same. */
export async function cold({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  const own = await server.createFunction(image, { warm_max: 0 });
  const settle = () => idle(docker);
  const run = { ...dockerRun(image), settle };
  const measured = await compareTimes(
    { metric: "cold call / `docker run --rm`", target: 0.75 },
    { rounds, perRound: 5, sides: [{ name: "cold call", run: () => invoke(server.url, own), settle }, run] },
  );
  const shared = await server.createFunction(image, { warm_max: 1, share_network: true });
  // Takes the only instance that is ready, so that the next call finds none; the holder of the network stays.
  const drain = async () => {
    await warm(server.url, shared);
    await Bun.sleep(300);
    await invoke(server.url, shared);
  };
  const sharing = await compareTimes(
    { metric: "the same with `share_network`", target: 0.4 },
    {
      rounds,
      perRound: 5,
      sides: [
        { name: "cold call", run: () => invoke(server.url, shared), settle: drain },
        { ...dockerRun(image), settle: () => warm(server.url, shared).then(() => Bun.sleep(300)) },
      ],
    },
  );
  return [measured, sharing];
}
