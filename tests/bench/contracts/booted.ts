import { EngineClient } from "../../../.ci/engine/engine-client.ts";
import { ensureProgram } from "../../../.ci/packages.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import type { Bench } from "../bench.ts";
import { compareRates, compareTimes, figure, type Measurement, type Operation } from "../compare.ts";
import { load } from "../http.ts";
import type { RowName } from "../manual/rows.ts";
import { idle, invoke, warm } from "../sides.ts";
import { type App, asFunction, bareApp, expressApp, expressOnHost, runAsFunction, runDirectly } from "./app.ts";

/** The time that the engine works for the previous call once the pool is full, in milliseconds. */
const QUIET_MS = 400;
/** Instances that wait, and for how long that is watched, in seconds. */
const WAITING = 10;
const WATCHED_S = 10;
/** The load before the first round, in seconds: by then the server's runtime has compiled what each call runs. */
const WARM_UP_S = 15;
/** The time in which instances become calm and are frozen, in milliseconds. */
const CALM_MS = 4_000;

/** Measures calls of functions that are servers: used once, and waiting. */
export async function booted(bench: Bench): Promise<readonly Measurement[]> {
  const app = await expressApp(bench.docker);
  return [...(await usedOnce(bench, app)), await waiting(bench, app)];
}

/** Measures calls of many clients at once of functions that are servers, whose instance they share. */
export async function shared(bench: Bench): Promise<readonly Measurement[]> {
  return [
    await rate(bench, "bootedRate", await expressApp(bench.docker)),
    await rate(bench, "bootedRateBare", await bareApp(bench.docker)),
  ];
}

/** Both sides have the same pause: what runs after one finds processors and caches cold. */
async function usedOnce({ docker, image, rounds }: Bench, app: App): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  await using host = await expressOnHost();
  const settings = { ...asFunction(app), warm_max: 3 };
  const fresh = await server.createFunction(app.image, settings);
  const asked = await server.createFunction(app.image, { ...settings, ready_path: "/" });
  const reused = await server.createFunction(image, { max_calls: 0, warm_max: 1 });
  const quiet = async () => {
    await host.end();
    await Bun.sleep(QUIET_MS / 4);
    await Promise.all([warm(server.url, fresh), warm(server.url, asked)]);
    await Bun.sleep(QUIET_MS);
  };
  const call = { name: "call, used once", run: () => invoke(server.url, fresh), settle: quiet };
  const askedCall = { name: "call, used once, with `ready_path`", run: () => invoke(server.url, asked), settle: quiet };
  const reuse = { name: "reuse call", run: () => invoke(server.url, reused), settle: quiet };
  const first = async () => {
    await quiet();
    await host.start();
    await Bun.sleep(QUIET_MS);
  };
  const boot = { name: "boot on the host, to the first answer", run: () => host.boot(), settle: quiet };
  const request = { name: "first request on the host", run: () => host.request(), settle: first };
  const compare = (row: RowName, one: Operation, other: Operation) =>
    compareTimes(row, { rounds, perRound: 4, sides: [one, other] });
  return [
    await compare("bootedBoot", call, boot),
    await compare("bootedFirst", call, request),
    await compare("bootedReuse", call, reuse),
    await compare("bootedAskedBoot", askedCall, boot),
    await compare("bootedAskedReuse", askedCall, reuse),
  ];
}

async function rate({ docker, rounds }: Bench, row: "bootedRate" | "bootedRateBare", app: App): Promise<Measurement> {
  const wrk = await ensureProgram("wrk", ["wrk"]);
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  await using direct = await runDirectly(docker, app);
  const url = await runAsFunction(server, app);
  const requests = (name: string, address: string) => ({ name, measure: () => load(wrk, `${address}/`) });
  await load(wrk, `${direct.url}/`);
  await load(wrk, `${url}/`, { seconds: WARM_UP_S });
  // Awaited here, while both still run.
  return await compareRates(row, rounds, [requests("calls", url), requests("by its address", direct.url)]);
}

/** Reads from the engine what the processes of waiting instances use; the gate is one of them. */
async function waiting({ docker }: Bench, app: App): Promise<Measurement> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100", MAX_INSTANCES: "100" });
  await idle(docker);
  const client = new EngineClient(docker);
  const fn = await server.createFunction(app.image, { ...asFunction(app), warm_min: WAITING, warm_max: WAITING });
  while ((await readyOf(server.url, fn)) < WAITING) await Bun.sleep(100);
  await Bun.sleep(CALM_MS);
  const containers = await ownedContainers(client);
  const used = async () => {
    const each = await Promise.all(containers.map((name) => usedNs(client, name)));
    return each.reduce((sum, ns) => sum + ns, 0);
  };
  const before = await used();
  if (before === 0) throw new Error("The engine does not say what processor time its containers have used");
  await Bun.sleep(WATCHED_S * 1000);
  const share = (await used()) - before;
  return figure("bootedIdle", [(share / (WATCHED_S * 1e9 * containers.length)) * 100], "% of a core each");
}

async function readyOf(url: string, fn: { readonly id: string }): Promise<number> {
  const reply = (await (await fetch(`${url}/v1/functions/${fn.id}`)).json()) as { data: { pool: { ready: number } } };
  return reply.data.pool.ready;
}

/** Takes the name of a container as the engine lists it, with a slash in front. */
async function usedNs(client: EngineClient, name: string): Promise<number> {
  const stats = await client.json("GET", `/containers${name}/stats?stream=false&one-shot=true`);
  return (stats as { cpu_stats: { cpu_usage: { total_usage: number } } }).cpu_stats.cpu_usage.total_usage; // the engine's own format
}
