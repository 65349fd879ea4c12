// `bun run bench [arguments of tests/bench/bench.ts]`: installs what the benchmarks need, then runs them.
// `bun run bench --quick [BASE]` is the short form, tests/bench/quick/quick.ts; `--spent` shows what time is spent on.
import { buildGate } from "./build-gate.ts";
import { installPackages, main, runScript } from "./steps.ts";

await main(async () => {
  await installPackages();
  await buildGate();
  const args = process.argv.slice(2);
  if (args.includes("--quick")) return runScript("tests/bench/quick/quick.ts", ...args);
  return runScript(args.includes("--spent") ? "tests/bench/spent/spent.ts" : "tests/bench/bench.ts", ...args);
});
