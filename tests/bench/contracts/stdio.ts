import { baseImage } from "../../../.ci/engine/base-images.ts";
import { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import type { Bench } from "../bench.ts";
import { compareTimes, type Measurement } from "../compare.ts";
import { invoke } from "../sides.ts";

/** Compares calls of the contracts `stdio` and `files` of the same program: it copies its input, which `files` leaves empty. */
export async function stdio({ docker, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  const image = await baseImage(new EngineClient(docker), "busybox");
  const settings = { command: ["cat"], max_calls: 0, warm_max: 1 };
  const piped = await server.createFunction(image, { ...settings, contract: "stdio" });
  const files = await server.createFunction(image, { ...settings, contract: "files" });
  const call = (name: string, fn: { readonly id: string }) => ({ name, run: () => invoke(server.url, fn) });
  return [
    await compareTimes("stdioFiles", {
      rounds,
      perRound: 200,
      sides: [call("`stdio`", piped), call("`files`", files)],
    }),
  ];
}
