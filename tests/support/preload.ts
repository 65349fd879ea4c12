import { afterAll, afterEach, expect } from "bun:test";
import { buildGate } from "../../.ci/build-gate.ts";
import { acquiredEngine } from "../../.ci/engine/engine.ts";
import { foreignOwners, strayContainers } from "./leaks.ts";

// Of processes that run tests side by side, each has an engine of its own (.ci/test.ts).
const engines = process.env["SLIPWAY_TEST_ENGINES"]?.split(" ") ?? [];
const own = engines[(Number(process.env["BUN_TEST_WORKER_ID"]) - 1) % engines.length];
if (own !== undefined) process.env["DOCKER_HOST"] = own;

await buildGate();

// Other people's servers may use the same engine; their containers come and go.
const foreign = await foreignOwners();

afterEach(async () => {
  const engine = await acquiredEngine();
  if (engine !== undefined) expect(await strayContainers(engine.client, foreign)).toEqual([]);
});

afterAll(async () => {
  await (await acquiredEngine())?.stop();
});
