// `bun run build [--installed] [x64|arm64 ...]`: the server as one file for each architecture, in dist/.
// With --installed it uses the packages that are there.
import { ARCHITECTURES, type Architecture, binaryPath, isArchitecture } from "./architectures.ts";
import { buildGate } from "./build-gate.ts";
import { run, SetupError } from "./packages.ts";
import { inRepository, installPackages, main } from "./steps.ts";

/** Compiles the server for one architecture and returns the binary's path. Needs the packages and the gate. */
export async function build(architecture: Architecture): Promise<string> {
  const { code, stdout, stderr } = await run([process.execPath, inRepository(".ci/compile-server.ts"), architecture]);
  if (code !== 0) throw new SetupError(`${stdout}${stderr}`.trim());
  return binaryPath(architecture);
}

if (import.meta.main) {
  await main(async () => {
    const args = process.argv.slice(2);
    const names = args.filter((arg) => arg !== "--installed");
    const unknown = names.find((name) => !isArchitecture(name));
    if (unknown !== undefined) throw new SetupError(`Unknown architecture "${unknown}": use x64 or arm64`);
    if (!args.includes("--installed")) await installPackages();
    await buildGate();
    for (const architecture of ARCHITECTURES.filter((one) => names.length === 0 || names.includes(one))) {
      const path = await build(architecture);
      console.log(`${path} ${(Bun.file(path).size / 1e6).toFixed(0)} MB`);
    }
    return 0;
  });
}
