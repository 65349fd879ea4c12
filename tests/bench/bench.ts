// `bun run bench [--json FILE] [--rounds N] [--only NAME,NAME... [--write]]`: measures the table of numbers and writes it into the
// manual. With --only it measures some of the benchmarks, and writes nothing, or with --write the rows of these.
import { parseArgs } from "node:util";
import { acquireEngine } from "../../.ci/engine/engine.ts";
import { fixture } from "../support/images.ts";
import { binary } from "./binary.ts";
import { booted, shared } from "./contracts/booted.ts";
import { lambda } from "./contracts/lambda.ts";
import { stdio } from "./contracts/stdio.ts";
import { streams } from "./contracts/streams.ts";
import { cells } from "./cells.ts";
import { cluster } from "./cluster/cluster.ts";
import { cold } from "./cold.ts";
import { http } from "./http.ts";
import { writePages } from "./manual/pages.ts";
import { describeRun, readResults, withPart, writeResults } from "./manual/results.ts";
import { memory } from "./memory.ts";
import { queue } from "./queue.ts";
import { rates } from "./rates.ts";
import { warmCalls } from "./warm.ts";
import type { Measurement } from "./compare.ts";
import { formatTable } from "./manual/table.ts";

/** The arguments of a benchmark. */
export interface Bench {
  readonly docker: string;
  /** The function on both sides: a static program on busybox that answers with its request. */
  readonly image: string;
  readonly rounds: number;
}

const BENCHMARKS: readonly {
  readonly name: string;
  readonly run: (bench: Bench) => Promise<readonly Measurement[]>;
}[] = [
  { name: "warm", run: warmCalls },
  { name: "rates", run: rates },
  { name: "cold", run: cold },
  { name: "cells", run: cells },
  { name: "booted", run: booted },
  { name: "shared", run: shared },
  { name: "lambda", run: lambda },
  { name: "streams", run: streams },
  { name: "stdio", run: stdio },
  { name: "http", run: http },
  { name: "binary", run: binary },
  { name: "memory", run: memory },
  { name: "queue", run: queue },
  { name: "cluster", run: cluster },
];

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    json: { type: "string" },
    rounds: { type: "string", default: "5" },
    only: { type: "string" },
    write: { type: "boolean" },
  },
});
const only = values.only?.split(",");

const engine = await acquireEngine();
try {
  process.env["DOCKER_HOST"] = engine.host;
  const bench: Bench = { docker: engine.host, image: await fixture("chaos"), rounds: Number(values.rounds) };
  const run = await describeRun(engine.client);
  const measured: Measurement[] = [];
  for (const { name, run: measure } of BENCHMARKS) {
    if (only !== undefined && !only.some((text) => name.includes(text))) continue;
    console.error(`measuring: ${name}`);
    measured.push(...(await measure(bench)));
  }
  console.log(formatTable(measured));
  if (values.json !== undefined) await Bun.write(values.json, `${JSON.stringify(measured, null, 2)}\n`);
  if (only === undefined || values.write === true) {
    const results = only === undefined ? { ...run, measured } : withPart(await readResults(), { ...run, measured });
    await writeResults(results);
    await writePages(results);
    console.error("The table is in lib/docs/benchmarks.md, and its figures are in the other pages: commit them.");
  }
} finally {
  await engine.stop();
}
process.exit(0);
