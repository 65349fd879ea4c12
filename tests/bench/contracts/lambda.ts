import { SpawnedServer } from "../../support/spawned-server.ts";
import { fixture } from "../../support/images.ts";
import type { Bench } from "../bench.ts";
import { compareTimes, type Measurement } from "../compare.ts";
import { invoke, warm } from "../sides.ts";

/** The time that the engine works for the previous call once the pool is full, in milliseconds. */
const QUIET_MS = 400;

/**
 * Compares calls of a Lambda function on Node, with AWS's own runtime client, with a call in a reused container of `files`: in an
 * instance that is used once, and in one that is kept.
 */
export async function lambda({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  const fresh = await server.createFunction(await fixture("lambda"), { contract: "lambda", warm_max: 3 });
  const kept = await server.createFunction(await fixture("lambda"), { contract: "lambda", max_calls: 0, warm_max: 1 });
  const reused = await server.createFunction(image, { max_calls: 0, warm_max: 1 });
  // Both sides have the same pause: what runs after one finds processors and caches cold.
  const settle = async () => {
    await warm(server.url, fresh);
    await Bun.sleep(QUIET_MS);
  };
  const files = { name: "reuse call", run: () => invoke(server.url, reused), settle };
  const once = { name: "Lambda call, used once", run: () => invoke(server.url, fresh), settle };
  const again = { name: "Lambda call, reused", run: () => invoke(server.url, kept), settle };
  return [
    await compareTimes("lambdaReuse", { rounds, perRound: 4, sides: [once, files] }),
    await compareTimes("lambdaReusedReuse", { rounds, perRound: 4, sides: [again, files] }),
  ];
}
