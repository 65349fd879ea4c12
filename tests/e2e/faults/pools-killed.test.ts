import { test } from "bun:test";
import { fixture } from "../../support/images.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { containersBecome, full } from "../pool/pools.ts";

test("a killed server with full pools leaves no instances and no network holder", async () => {
  const image = await fixture("chaos");
  await using server = await SpawnedServer.start({ WARM_MAX: "100" });
  const functions = [
    await server.createFunction(image, { warm_min: 3 }),
    await server.createFunction(image, { warm_min: 3, share_network: true }),
  ];
  for (const fn of functions) await full(server, fn, 3);
  // The instances and the network holder.
  await containersBecome(7, ...functions);
  server.kill("SIGKILL");
  await server.exited;
  await containersBecome(0, ...functions);
});
