// `bun run bench --spent`: looks at the whole machine with perf while calls run back to back, and writes into the manual
// what their processor time is spent on. It takes less than a minute.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { ensureProgram, runOrThrow } from "../../../.ci/packages.ts";
import { main } from "../../../.ci/steps.ts";
import type { Settings } from "../../../lib/domain/functions/settings.ts";
import { fixture } from "../../support/images.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { describeRun } from "../manual/results.ts";
import { type Spent, writeSpent } from "../manual/spent.ts";
import { invoke } from "../sides.ts";
import { type Part, PARTS, partOf, samplesIn } from "./samples.ts";

/** Samples a second of each processor; not a round number, lest they fall into step with the kernel's clock. */
const HERTZ = 997;
const SECONDS = 6;
/** Calls before that, in which code is compiled and memory is touched for the first time. */
const WARM_UP = 300;

const KINDS = { process: "reuse call", cell: "call in a cell" } as const satisfies Partial<
  Record<Settings["isolation"], string>
>;

await main(async () => {
  const perf = await ensureProgram("perf", ["linux-perf"]);
  await using engine = await acquireEngine();
  process.env["DOCKER_HOST"] = engine.host;
  const image = await fixture("chaos");
  const run = await describeRun(engine.client);
  const directory = await mkdtemp(join(tmpdir(), "slipway-spent-"));
  try {
    await using server = await SpawnedServer.start({ DOCKER_HOST: engine.host, WARM_MAX: "1" });
    const calls: Spent["calls"][number][] = [];
    for (const isolation of ["process", "cell"] as const) {
      const fn = await server.createFunction(image, { isolation, warm_max: 1 });
      for (let call = 0; call < WARM_UP; call++) await invoke(server.url, fn);
      const file = join(directory, isolation);
      const count = await record(perf, file, () => invoke(server.url, fn));
      const milliseconds = await divide(perf, file, server.pid, count);
      calls.push({ name: KINDS[isolation], count, milliseconds });
      await server.deleteFunction(fn.id);
    }
    await writeSpent({ ...run, calls });
    console.error("The table is in lib/docs/benchmarks.md: commit it.");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return 0;
});

/** Makes calls while perf records; returns how many. */
async function record(perf: string, file: string, call: () => Promise<unknown>): Promise<number> {
  const options = ["-e", "cpu-clock", "-F", String(HERTZ), "-a", "-g", "-o", file];
  const recording = Bun.spawn([perf, "record", ...options, "--", "sleep", String(SECONDS)], {
    stdout: "ignore",
    stderr: "pipe",
  });
  const state = { records: true };
  const ended = recording.exited.finally(() => (state.records = false));
  let count = 0;
  while (state.records) {
    await call();
    count++;
  }
  if ((await ended) !== 0) throw new Error(`perf does not record: ${await recording.stderr.text()}`);
  return count;
}

/** Divides the samples into parts; returns the milliseconds of a processor that each takes of a call. */
async function divide(perf: string, file: string, server: number, calls: number): Promise<Record<Part, number>> {
  const text = await runOrThrow([perf, "script", "-i", file, "-F", "comm,pid,ip,sym"]);
  const known = { server, caller: process.pid, program: "chaos" };
  const counts = new Map<Part, number>();
  for (const sample of samplesIn(text)) {
    const part = partOf(sample, known);
    if (part !== undefined) counts.set(part, (counts.get(part) ?? 0) + 1);
  }
  const of = (part: Part) => ((counts.get(part) ?? 0) / HERTZ / calls) * 1000;
  return Object.fromEntries(PARTS.map((part) => [part, of(part)])) as Record<Part, number>; // of all its keys
}
