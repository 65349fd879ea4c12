// `bun run build [--installed] [x64|arm64 ...]`: the server as one file for each architecture, in dist/.
// With --installed the packages are taken as they are.
import { mkdir, rm } from "node:fs/promises";
import { SetupError } from "../tests/support/packages.ts";
import { buildGate, inRepository, installPackages, main } from "./steps.ts";

const TARGETS = { x64: "bun-linux-x64", arm64: "bun-linux-arm64" } as const;

/** Which architectures there are binaries for. */
export type Architecture = keyof typeof TARGETS;

export const ARCHITECTURES = ["x64", "arm64"] as const satisfies readonly Architecture[];

/** Where the binary for an architecture is. */
export function binaryPath(architecture: Architecture): string {
  return inRepository("dist", `slipway-linux-${architecture}`);
}

/**
 * docker-modem asks for ssh2 only where DOCKER_HOST is ssh://, which the server refuses. Its optional native parts
 * would be embedded whatever architecture they are for.
 */
const withoutSsh: Bun.BunPlugin = {
  name: "without-ssh",
  setup(build) {
    build.onResolve({ filter: /^(ssh2|cpu-features)$/ }, ({ path }) => ({ path, namespace: "stub" }));
    build.onLoad({ filter: /.*/, namespace: "stub" }, () => ({ contents: "module.exports = {};", loader: "js" }));
  },
};

/** Compiles the server for one architecture; Bun fetches the runtime of another one from the npm registry, once. */
export async function build(architecture: Architecture): Promise<string> {
  const outfile = binaryPath(architecture);
  await mkdir(inRepository("dist"), { recursive: true });
  const result = await Bun.build({
    entrypoints: [inRepository("index.ts")],
    compile: { target: TARGETS[architecture], outfile, autoloadDotenv: false, autoloadBunfig: false },
    // Bytecode takes the start to the first answer from 46 to 19 ms; the maps give stacks their own lines.
    minify: true,
    bytecode: true,
    format: "esm",
    sourcemap: "inline",
    plugins: [withoutSsh],
    throw: false,
  });
  // The maps are inside; Bun leaves a copy beside it.
  await rm(`${outfile}.map`, { force: true });
  if (result.success) return outfile;
  throw new SetupError(
    `Cannot compile the server for ${architecture}:\n${result.logs.map((log) => log.message).join("\n")}`,
  );
}

function isArchitecture(name: string): name is Architecture {
  return Object.hasOwn(TARGETS, name);
}

if (import.meta.main) {
  await main(async () => {
    const args = process.argv.slice(2);
    const names = args.filter((arg) => arg !== "--installed");
    const unknown = names.find((name) => !isArchitecture(name));
    if (unknown !== undefined) throw new SetupError(`Unknown architecture "${unknown}": x64 or arm64`);
    if (!args.includes("--installed")) await installPackages();
    await buildGate();
    for (const architecture of ARCHITECTURES.filter((one) => names.length === 0 || names.includes(one))) {
      const path = await build(architecture);
      console.log(`${path} ${(Bun.file(path).size / 1e6).toFixed(0)} MB`);
    }
    return 0;
  });
}
