import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { compareTimes, type Measurement } from "./compare.ts";
import { dockerRun, idle, invoke } from "./sides.ts";

const SLEEPER_AND_HOLDER = 2;

/** Compares a call that starts its container with the `docker` command. */
export async function cold({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  const own = await server.createFunction(image, { warm_max: 0 });
  const settle = () => idle(docker);
  const run = { ...dockerRun(image), settle };
  const measured = await compareTimes("cold", {
    rounds,
    perRound: 5,
    sides: [{ name: "cold call", run: () => invoke(server.url, own), settle }, run],
  });
  const shared = await server.createFunction(image, { warm_max: 0, share_network: true, timeout_ms: 900_000 });
  // A sleeping call keeps the network holder alive, as a pool would, without a ready instance.
  const sleeping = new AbortController();
  const sleeper = server.invoke(shared, { do: "sleep" }, { signal: sleeping.signal }).catch(() => undefined);
  await invoke(server.url, shared);
  const beside = { settle: () => idle(docker, SLEEPER_AND_HOLDER) };
  const sharing = await compareTimes("coldShared", {
    rounds,
    perRound: 5,
    sides: [
      { name: "cold call", run: () => invoke(server.url, shared), ...beside },
      { ...dockerRun(image), ...beside },
    ],
  });
  sleeping.abort();
  await sleeper;
  return [measured, sharing];
}
