import { afterAll, afterEach, expect } from "bun:test";
import { buildGate } from "../../.ci/build-gate.ts";
import { acquiredEngine } from "../../.ci/engine/engine.ts";
import { foreignOwners, strayContainers } from "./leaks.ts";

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
