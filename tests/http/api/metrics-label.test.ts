import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

test("GET /metrics counts a call that reached no instance under the function's name", async () => {
  const directory = await mkdtemp(join(tmpdir(), "slipway-label-"));
  {
    await using before = await TestServer.start({ DATA_PATH: directory });
    await before.createFunction(await fixture("static"), { name: "named" });
  }
  await using server = await TestServer.start({ DATA_PATH: directory, DOCKER_HOST: `unix://${directory}/docker.sock` });
  await server.invoke({ id: "named" }, "{}");
  const text = await (await fetch(`${server.url}/metrics`)).text();
  expect(text).toContain('slipway_invocations_total{function="named",status="failed",start="none"} 1');
  await rm(directory, { recursive: true });
});
