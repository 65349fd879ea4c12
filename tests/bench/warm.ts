import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SpawnedServer } from "../support/spawned-server.ts";
import type { Bench } from "./bench.ts";
import { compareTimes, figure, type Measurement, type Operation, times } from "./compare.ts";
import { dockerRun, invoke, warm } from "./sides.ts";
import { quantile } from "./statistics.ts";

/** The time that the engine works for the previous call once the pool is full, in milliseconds: about one removal. */
const QUIET_MS = 400;
/** The pause before a reuse call that finds all processes on its way idle, in milliseconds. */
const ASLEEP_MS = 300;

/** Measures a call to a ready instance in an unused container, and one in a reused container. */
export async function warmCalls({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  await using server = await SpawnedServer.start({ DOCKER_HOST: docker, WARM_MAX: "100" });
  await using host = await hostSpawn();
  const fresh = await server.createFunction(image, { warm_max: 3 });
  const reused = await server.createFunction(image, { max_calls: 0, warm_max: 1 });
  // A refill begins a moment after the answer: wait for its start, then for its end. Both sides have the same pause,
  // because anything that runs after a pause, a host process too, finds processors and caches cold.
  const quiet = async () => {
    await Bun.sleep(QUIET_MS / 4);
    await warm(server.url, fresh);
    await Bun.sleep(QUIET_MS);
  };
  const asleep = () => Bun.sleep(ASLEEP_MS);
  const freshCall = { name: "warm fresh call", run: () => invoke(server.url, fresh), settle: quiet };
  const reuseCall = { name: "reuse call", run: () => invoke(server.url, reused) };
  const perRound = 8;
  return [
    await compareTimes("warmDocker", { rounds, perRound, sides: [freshCall, { ...dockerRun(image), settle: quiet }] }),
    await compareTimes("warmSpawn", { rounds, perRound, sides: [freshCall, { ...host.operation, settle: quiet }] }),
    await tail(server, image),
    await compareTimes("reuseSpawn", { rounds, perRound: 100, sides: [reuseCall, host.operation] }),
    await compareTimes("reuseSpawnAsleep", {
      rounds,
      perRound: 10,
      sides: [
        { ...reuseCall, settle: asleep },
        { ...host.operation, settle: asleep },
      ],
    }),
  ];
}

/** Calls per second in the open-loop run: half of what an engine on two cores can refill. */
const RATE = 2;
const CALLS = 60;

/** Makes calls at a constant rate, whether or not earlier ones have returned: the experience at a random moment. */
async function tail(server: SpawnedServer, image: string): Promise<Measurement> {
  const fn = await server.createFunction(image);
  await warm(server.url, fn);
  const calls: Promise<number>[] = [];
  for (let i = 0; i < CALLS; i++) {
    const due = performance.now();
    calls.push(invoke(server.url, fn).then(() => performance.now() - due));
    await Bun.sleep(1000 / RATE);
  }
  // The pool learns the rate in its first calls.
  const sample = (await Promise.all(calls)).slice(CALLS / 6);
  return figure("warmTail", [quantile(sample, 0.99) / quantile(sample, 0.5)], "", [
    { name: "p50 / p90 / p99", figure: times(sample) },
  ]);
}

/** Runs the same program as a process on the host with a context directory, the cheapest possible way. */
export async function hostSpawn(): Promise<{ readonly operation: Operation } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-bench-"));
  const program = join(directory, "chaos");
  const { compile } = await import("../../.ci/engine/compile.ts");
  await compile(join(import.meta.dir, "../support/fixtures/chaos"), program, "static");
  const operation: Operation = {
    name: "spawn on the host",
    run: async () => {
      await Bun.write(join(directory, "request.json"), '{"do": "exit"}');
      const child = Bun.spawn([program], { env: { CONTEXT_PATH: directory }, stdio: ["ignore", "pipe", "pipe"] });
      await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
      await Bun.file(join(directory, "request.json")).text();
    },
  };
  return { operation, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) };
}
