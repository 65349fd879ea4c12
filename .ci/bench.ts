// `bun run bench [arguments of tests/bench/bench.ts]`: installs what the benchmarks need, then runs them.
import { buildGate } from "./build-gate.ts";
import { installPackages, main, runScript } from "./steps.ts";

await main(async () => {
  await installPackages();
  await buildGate();
  return runScript("tests/bench/bench.ts", ...process.argv.slice(2));
});
