import { afterAll, beforeAll, expect, test } from "bun:test";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { copyImages } from "../../../.ci/engine/image-tree.ts";
import { type PrivateEngine, startPrivateEngine } from "../../../.ci/engine/private-engine.ts";
import { EngineProxy } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { CALL_MS, expectWalls } from "./hostile.ts";

let engine: PrivateEngine;
let image: string;

beforeAll(async () => {
  image = await fixture("probe");
  engine = await startPrivateEngine("installed", { cgroup2: true });
  await copyImages((await acquireEngine()).client, engine.client, [image]);
});

afterAll(() => engine.stop());

test("a hostile function sees and may do in a cell what it does in a container, also with cgroups v2", async () => {
  await using proxy = await EngineProxy.start(engine.client.socket);
  // If the controller of the processor is in v1, the engine refuses its limits.
  proxy.use(({ path }) => (path.startsWith("/containers/create") ? { swap: ["NanoCpus", "NoNumber"] } : "pass"));
  await using server = await TestServer.start({ DOCKER_HOST: proxy.host });
  expect(await engine.client.json("GET", "/info")).toMatchObject({ CgroupVersion: "2" });
  await expectWalls(server, image, { sandbox: "docker", timeout_ms: CALL_MS });
});
