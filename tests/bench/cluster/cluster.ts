import { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { type PrivateEngine, startPrivateEngine } from "../../../.ci/engine/private-engine.ts";
import { ensureProgram } from "../../../.ci/packages.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { startPostgres } from "../../support/postgres/private-postgres.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import type { Bench } from "../bench.ts";
import { compareRates, type Measurement, rateOf } from "../compare.ts";
import { idle, invoke } from "../sides.ts";

const SECONDS = 10;
/** Enough to keep a core busy. */
const AT_ONCE = 4;
/** The instances of each server that wait. */
const WARM = 4;
const DATABASE = "slipway";

/** A server and its engine, both on one core. */
interface Pair {
  readonly server: SpawnedServer;
  readonly engine: PrivateEngine;
}

/**
 * Compares the fresh calls of two servers with those of one, each with an engine of its own and one core for both. PostgreSQL and the
 * client, which have little to do, are on any core.
 */
export async function cluster({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using made = new AsyncDisposableStack();
  const postgres = made.use(await startPostgres());
  await postgres.run(`create database ${DATABASE}`);
  const saved = await (await new EngineClient(docker).request("GET", `/images/${image}/get`)).blob();
  const first = await startPair(0, postgres.url(DATABASE), saved, made);
  // Before the other one: no registry has the image, and then it would be refused.
  const fn = await first.server.createFunction(image, { warm_max: WARM });
  const pairs = [first, await startPair(1, postgres.url(DATABASE), saved, made)];
  const calls = (name: string, of: readonly Pair[]) => ({
    name,
    measure: async () => {
      for (const { engine } of pairs) await idle(engine.client.host, WARM);
      // Counted after the pools are drained: then calls are as fast as refills.
      await rateOfAll(3, of, fn);
      return rateOfAll(SECONDS, of, fn);
    },
  });
  return [
    await compareRates("clusterRate", rounds, [calls("two servers", pairs), calls("one server", pairs.slice(0, 1))]),
  ];
}

async function startPair(core: number, databaseUrl: string, image: Blob, made: AsyncDisposableStack): Promise<Pair> {
  const engine = await startPrivateEngine("installed", { core });
  made.defer(() => engine.stop());
  await engine.client.progress("POST", "/images/load", {
    body: image,
    headers: { "content-type": "application/x-tar" },
  });
  const server = await SpawnedServer.start(
    {
      DOCKER_HOST: engine.client.host,
      DATABASE_URL: databaseUrl,
      SECRET_KEY: "c".repeat(64),
      SERVER_ID: `core-${core}`,
      WARM_MAX: "100",
    },
    [await ensureProgram("taskset", ["util-linux"]), "-c", String(core)],
  );
  made.use(server);
  return { server, engine };
}

async function rateOfAll(seconds: number, pairs: readonly Pair[], fn: Function): Promise<number> {
  const rates = await Promise.all(pairs.map(({ server }) => rateOf(seconds, AT_ONCE, () => invoke(server.url, fn))));
  return rates.reduce((sum, rate) => sum + rate, 0);
}
