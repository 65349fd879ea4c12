// `bun run bench --quick [BASE]`: compares the working tree with a commit, by default where it left `main`, both in one
// run and in turns. It takes less than three minutes, prints which rows got worse beyond the noise, and then exits with 1.
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { build } from "../../../.ci/build.ts";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { ensureProgram } from "../../../.ci/packages.ts";
import { main } from "../../../.ci/steps.ts";
import { fixture } from "../../support/images.ts";
import { show } from "../compare.ts";
import { median } from "../statistics.ts";
import { buildBase, describeCommit, findBase } from "./base.ts";
import { CELL_ROWS, QUICK_ROWS, type QuickRow, type Side, startSide } from "./rows.ts";
import { judge, type Verdict } from "./verdict.ts";

/** The most time for which rows that look worse are measured again, in milliseconds: the whole stays below three minutes. */
const AGAIN_MS = 20_000;
/** Above it, other work on the machine blurs the comparison. */
const QUIET_LOAD = 0.5;

interface Result extends Verdict {
  readonly row: QuickRow;
  readonly base: number;
  readonly tree: number;
}

await main(async () => {
  const { positionals } = parseArgs({
    args: process.argv.slice(2),
    options: { quick: { type: "boolean" } },
    allowPositionals: true,
  });
  const load = loadavg()[0] ?? 0;
  if (load > QUIET_LOAD) console.error(`The machine is busy (load ${load.toFixed(1)}): what follows is blurred by it`);
  const commit = await findBase(positionals[0]);
  console.error(`comparing the working tree with ${await describeCommit(commit)}`);
  const results = await compare(commit);
  console.log(tableOf(results));
  const worse = results.filter((result) => result.worse);
  for (const { row, median } of worse) console.log(`\nWorse: ${row.metric}, ${show(median)} times the base`);
  if (worse.length === 0) console.log("\nNo row is worse beyond the noise");
  return worse.length === 0 ? 0 : 1;
});

async function compare(commit: string): Promise<readonly Result[]> {
  const architecture = process.arch === "arm64" ? "arm64" : "x64";
  const wrk = await ensureProgram("wrk", ["wrk"]);
  await using engine = await acquireEngine();
  process.env["DOCKER_HOST"] = engine.host;
  const image = await fixture("chaos");
  // Both at once: one build alone does not use all processors.
  const building = build(architecture);
  building.catch(() => undefined); // it is awaited below, unless the other one fails
  await using built = await buildBase(commit, architecture);
  const executable = await building;
  await using base = await startSide(built.executable, engine.host, wrk, image);
  await using tree = await startSide(executable, engine.host, wrk, image);
  const hasCells = base.cell !== undefined && tree.cell !== undefined;
  const results: Result[] = [];
  let again = 0;
  for (const row of hasCells ? [...QUICK_ROWS, ...CELL_ROWS] : QUICK_ROWS) {
    console.error(`measuring: ${row.metric}`);
    const began = performance.now();
    let result = await measure(row, base, tree);
    const took = performance.now() - began;
    // A row that looks worse once may be chance among so many.
    if (result.worse && again + took <= AGAIN_MS) {
      again += took;
      result = await measure(row, base, tree);
    }
    results.push(result);
  }
  return results;
}

async function measure(row: QuickRow, base: Side, tree: Side): Promise<Result> {
  const values = { base: [] as number[], tree: [] as number[] };
  // The first time warms caches and pools.
  for (const side of [base, tree]) await row.measure(side);
  for (let round = 0; round < row.rounds; round++) {
    const turn = [
      ["base", base],
      ["tree", tree],
    ] as const;
    // A B B A: neither side is always the second.
    for (const [name, side] of round % 2 === 0 ? turn : turn.toReversed()) values[name].push(await row.measure(side));
  }
  const verdict = judge(values.base, values.tree, row.unit === "/s");
  return { row, base: median(values.base), tree: median(values.tree), ...verdict };
}

function tableOf(results: readonly Result[]): string {
  const rows = results.map(({ row, base, tree, median, min, max, worse }) => {
    const ratio = `${show(median)} (${show(min)} to ${show(max)})`;
    return `| ${row.metric} | ${show(base)} ${row.unit} | ${show(tree)} ${row.unit} | ${ratio} | ${worse ? "worse" : ""} |`;
  });
  return [
    "| metric | base | tree | tree / base, median (min to max) | |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}
