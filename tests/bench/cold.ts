import type { Bench } from "./bench.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import { compare } from "./compare.ts";
import type { Measurement } from "./report.ts";
import { dockerRun, idle, invoke } from "./sides.ts";

/** A call that has to start its container, beside the `docker` command doing the same. */
export async function cold({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker });
  const fn = await server.createFunction(image);
  const call = { name: "cold call", run: () => invoke(server.url, fn), settle: () => idle(docker) };
  const run = { name: "docker run --rm", run: () => dockerRun(image), settle: () => idle(docker) };
  return [
    await compare({ metric: "cold call / docker run --rm", target: 0.75, rounds, perRound: 7, sides: [call, run] }),
  ];
}
