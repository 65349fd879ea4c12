import { Database } from "bun:sqlite";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../../.ci/build.ts";
import type { Function } from "../../lib/domain/functions/functions.ts";
import { databasePath } from "../../lib/store/sqlite/store.ts";
import { ensureProgram } from "../../.ci/packages.ts";
import { answered } from "./bare-server.ts";
import type { Bench } from "./bench.ts";
import { residentBytes, running, type Running } from "./binary.ts";
import { claimTimes } from "./claims.ts";
import { compareRates, figure, type Measurement, show, times } from "./compare.ts";
import { load } from "./http.ts";
import { PlainInserts } from "./plain-inserts.ts";
import { quantile } from "./statistics.ts";

const MIB = 1024 * 1024;
const SECONDS = 5;
const CLIENTS = 32;
const QUEUED = 100_000;
const FUNCTIONS = 50;
/** Before the first figure: caches fill, code is compiled, the heap finds its size. */
const FIRST_QUEUED = 10_000;
const CLAIMS = 3_000;
/** Nothing of it runs while it is measured. */
const LATER = "async=true&delay_ms=86400000";
/** An address without an engine: due work stays queued. */
const NO_ENGINE = "unix:///nonexistent/slipway-bench.sock";

/** The queue: how fast it takes work, and the cost of having much of it. */
export async function queue({ docker, image, rounds }: Bench): Promise<readonly Measurement[]> {
  const executable = await build(process.arch === "arm64" ? "arm64" : "x64");
  return [...(await submitting(executable, docker, image, rounds)), ...(await having(executable, docker, image))];
}

async function submitting(executable: string, docker: string, image: string, rounds: number): Promise<Measurement[]> {
  const wrk = await ensureProgram("wrk", ["wrk"]);
  await using server = await running(executable, docker);
  await using plain = await PlainInserts.open();
  const [fn] = await createFunctions(server, image, 1);
  const submit = {
    name: `submissions over HTTP, ${CLIENTS} clients`,
    measure: () =>
      load(wrk, `${server.url}/v1/functions/${fn?.id}/invoke?${LATER}`, { method: "POST", body: '{"do": "echo"}' }),
  };
  const inserts = (perTransaction: number) => ({
    name: `plain inserts, ${perTransaction} a commit`,
    measure: () => plain.rate(SECONDS, perTransaction),
  });
  await submit.measure();
  return [
    await compareRates("submissions", rounds, [submit, inserts(1)]),
    await compareRates("submissionsBatched", rounds, [submit, inserts(CLIENTS)]),
  ];
}

async function having(executable: string, docker: string, image: string): Promise<Measurement[]> {
  const directory = await mkdtemp(join(tmpdir(), "slipway-bench-queue-"));
  try {
    let functions: readonly Function[];
    {
      await using server = await running(executable, docker, { DATA_PATH: directory });
      functions = await createFunctions(server, image, FUNCTIONS);
    }
    const empty = await start(executable, directory);
    const memory = await growth(executable, docker, directory, functions);
    makeDue(directory);
    const full = await start(executable, directory);
    const claims = await claimsIn(directory);
    return [
      figure("claim", [quantile(claims, 0.99)], "ms", [
        { name: `${CLAIMS} claims, p50 / p90 / p99`, figure: times(claims) },
      ]),
      memory,
      figure("startWithQueue", [full], "ms", [{ name: "with none", figure: `${show(empty)} ms` }]),
    ];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Submits everything over HTTP, without extrapolation. */
async function growth(
  executable: string,
  docker: string,
  directory: string,
  functions: readonly Function[],
): Promise<Measurement> {
  await using server = await running(executable, docker, { DATA_PATH: directory, LOG_LEVEL: "debug" });
  await answered(`${server.url}/healthz`);
  const idleAfter = async (count: number) => {
    await submitAll(server, functions, count);
    const busy = residentBytes(server.pid);
    await server.logged("memory given back");
    await Bun.sleep(2_000);
    return { busy, idle: residentBytes(server.pid) };
  };
  const before = await idleAfter(FIRST_QUEUED);
  const after = await idleAfter(QUEUED - FIRST_QUEUED);
  const resident = ({ busy, idle }: typeof before) => `${show(idle / MIB)} MiB (${show(busy / MIB)} at the last 202)`;
  return figure("growthByQueue", [(after.idle - before.idle) / MIB], "MiB", [
    { name: `idle with ${FIRST_QUEUED}`, figure: resident(before) },
    { name: `idle with ${QUEUED}`, figure: resident(after) },
  ]);
}

async function submitAll({ url }: Running, functions: readonly Function[], count: number): Promise<void> {
  const left = Array.from({ length: count }).keys();
  const client = async () => {
    for (const n of left) {
      const path = `${url}/v1/functions/${functions[n % functions.length]?.id}/invoke?${LATER}`;
      const response = await fetch(path, { method: "POST", body: '{"do": "echo"}' });
      await response.arrayBuffer();
      if (response.status !== 202) throw new Error(`A submission answered ${response.status}`);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** Makes all waiting work ready. */
function makeDue(directory: string): void {
  using database = new Database(databasePath(directory));
  database.run("update work set state = 'ready', due = due - 86400000");
}

async function start(executable: string, directory: string): Promise<number> {
  const started = performance.now();
  await using server = await running(executable, NO_ENGINE, { DATA_PATH: directory });
  // The health is answered before the server has looked into its queue.
  await answered(`${server.url}/v1/functions`);
  return performance.now() - started;
}

/** Of a copy, since claims change it. */
async function claimsIn(directory: string): Promise<readonly number[]> {
  const copy = await mkdtemp(join(tmpdir(), "slipway-bench-claims-"));
  try {
    await cp(directory, copy, { recursive: true });
    return await claimTimes(copy, CLAIMS);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

async function createFunctions({ url }: Running, image: string, count: number): Promise<readonly Function[]> {
  await answered(`${url}/healthz`);
  const functions: Function[] = [];
  for (let i = 0; i < count; i++) {
    const body = JSON.stringify({ image, warm_max: 0 });
    const response = await fetch(`${url}/v1/functions`, { method: "POST", body });
    if (response.status !== 201) throw new Error(`The function was not registered: ${await response.text()}`);
    functions.push(((await response.json()) as { data: Function }).data); // a 201 has the function
  }
  return functions;
}
