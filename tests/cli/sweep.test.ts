import { expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { acquireEngine } from "../../.ci/engine/engine.ts";
import { fixture } from "../support/images.ts";
import { SLIPWAY } from "../support/program.ts";
import { SpawnedServer } from "../support/spawned-server.ts";
import { startLookAlikes } from "../e2e/faults/support/look-alikes.ts";

const ICC_OFF = "com.docker.network.bridge.enable_icc=false";

/** Runs `slipway sweep` on a server's data and an engine. */
async function sweep(dataPath: string, host: string): Promise<{ code: number; said: string }> {
  const child = Bun.spawn([...SLIPWAY, "sweep"], {
    env: { PATH: process.env["PATH"] ?? "", DATA_PATH: dataPath, DOCKER_HOST: host },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [said, code] = await Promise.all([child.stderr.text(), child.exited]);
  return { code, said };
}

test("F6: slipway sweep removes what a killed server left, and nothing else, and not while a server runs", async () => {
  const engine = await acquireEngine();
  await using server = await SpawnedServer.start({ DOCKER_HOST: engine.host });
  using database = new Database(join(server.dataPath, "database.db"), { readonly: true });
  const row = database.query<{ value: string }, []>("select value from settings where key = 'owner_id'").get();
  const owner = row?.value ?? "";
  await using others = await startLookAlikes(owner);
  expect(await sweep(server.dataPath, engine.host)).toEqual({
    code: 1,
    said: expect.stringContaining("Another slipway uses the database"),
  });
  server.kill("SIGKILL");
  await server.exited;
  // As a server leaves them that was killed between create and start, and one whose engine was killed.
  const image = await fixture("chaos");
  const labelled = ["--label", `slipway.owner=${owner}`, "--entrypoint", "sleep", image, "1000"];
  await engine.docker("create", "--name", `slipway-${crypto.randomUUID()}`, ...labelled);
  await engine.docker("run", "-d", "--name", `slipway-${crypto.randomUUID()}`, ...labelled);
  expect(await sweep(server.dataPath, "unix:///nowhere/docker.sock")).toEqual({
    code: 1,
    said: expect.stringContaining("The Docker Engine cannot be reached"),
  });
  // EDGE C6: it goes with them; one that another server owns, whatever its name, does not.
  const [own, foreign] = [`slipway-isolated-${owner}`, `slipway-isolated-${crypto.randomUUID()}`];
  await engine.docker("network", "create", "-o", ICC_OFF, "--label", `slipway.owner=${owner}`, own);
  await engine.docker("network", "create", "-o", ICC_OFF, "--label", `slipway.owner=${owner}`, foreign);
  const end = (count: number) => ({
    code: 0,
    said: expect.stringContaining(`slipway: ${count} leftover containers removed`),
  });
  expect(await sweep(server.dataPath, engine.host)).toEqual(end(2));
  expect(await sweep(server.dataPath, engine.host)).toEqual(end(0));
  const networks = await engine.docker("network", "ls", "--format", "{{.Name}}");
  await engine.docker("network", "rm", foreign);
  expect([networks.includes(own), networks.includes(foreign)]).toEqual([false, true]);
  expect(await others.running()).toEqual([...others.names]);
});
