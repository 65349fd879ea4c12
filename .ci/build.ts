// `bun run build [--installed] [TARGET ...]`: the server as one file for each target, in dist/; by default those with glibc.
// With --installed it uses the packages that are there.
import { ARCHITECTURES, binaryPath, isTarget, type Target, TARGETS } from "./architectures.ts";
import { buildGate } from "./build-gate.ts";
import { run, SetupError } from "./packages.ts";
import { inRepository, installPackages, main } from "./steps.ts";

/** Compiles the server for one target and returns the binary's path. Needs the packages and the gate. */
export async function build(target: Target): Promise<string> {
  const { code, stdout, stderr } = await run([process.execPath, inRepository(".ci/compile-server.ts"), target]);
  if (code !== 0) throw new SetupError(`${stdout}${stderr}`.trim());
  return binaryPath(target);
}

if (import.meta.main) {
  await main(async () => {
    const args = process.argv.slice(2);
    const names = args.filter((arg) => arg !== "--installed");
    const unknown = names.find((name) => !isTarget(name));
    if (unknown !== undefined) throw new SetupError(`Unknown target "${unknown}": use ${TARGETS.join(", ")}`);
    if (!args.includes("--installed")) await installPackages();
    await buildGate();
    for (const target of names.length === 0 ? ARCHITECTURES : TARGETS.filter((one) => names.includes(one))) {
      const path = await build(target);
      console.log(`${path} ${(Bun.file(path).size / 1e6).toFixed(0)} MB`);
    }
    return 0;
  });
}
