import { afterAll, afterEach, expect } from "bun:test";
import { buildGate } from "../../.ci/build-gate.ts";
import { acquiredEngine } from "../../.ci/engine/engine.ts";
import { foreignOwners, strayContainers } from "./leaks.ts";

await buildGate();

// Servers of other people, whose containers come and go as they like, may be on the same engine.
const foreign = await foreignOwners();

afterEach(async () => {
  const engine = await acquiredEngine();
  if (engine !== undefined) expect(await strayContainers(engine.client, foreign)).toEqual([]);
});

afterAll(async () => {
  await (await acquiredEngine())?.stop();
});
