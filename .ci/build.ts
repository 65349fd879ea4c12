// `bun run build [--installed] [x64|arm64 ...]`: the server as one file for each architecture, in dist/.
// With --installed the packages are taken as they are.
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { HEADER_BYTES } from "../lib/domain/limits.ts";
import { SetupError } from "./packages.ts";
import { buildGate } from "./build-gate.ts";
import { inRepository, installPackages, main } from "./steps.ts";

const TARGETS = { x64: "bun-linux-x64", arm64: "bun-linux-arm64" } as const;

/** Which architectures there are binaries for. */
export type Architecture = keyof typeof TARGETS;

export const ARCHITECTURES = ["x64", "arm64"] as const satisfies readonly Architecture[];

/** Where the binary for an architecture is. */
export function binaryPath(architecture: Architecture): string {
  return inRepository("dist", `slipway-linux-${architecture}`);
}

/** What packages import and the server never runs, or has from the runtime already; each by what stands for it. */
const REPLACED: Readonly<Record<string, string>> = {
  // docker-modem asks for it only where DOCKER_HOST is ssh://, which the server refuses. Its optional native parts
  // would be embedded whatever architecture they are for.
  ssh2: "module.exports = {};",
  // For what DEBUG=modem prints.
  debug: "module.exports = () => () => undefined;",
  // The streams of Node.js as a package, from which docker-modem takes `Duplex`.
  "readable-stream": 'module.exports = require("node:stream");',
  // Elysia asks for it only where a schema has a file.
  "file-type": "module.exports = {};",
  // The style sheet of a page of @elysiajs/swagger that is not ours.
  "@scalar/themes": "module.exports = {};",
};

const replaceUnused: Bun.BunPlugin = {
  name: "replace-unused",
  setup(build) {
    const filter = new RegExp(`^(${Object.keys(REPLACED).join("|")})$`);
    build.onResolve({ filter }, ({ path }) => ({ path, namespace: "replaced" }));
    build.onLoad({ filter: /.*/, namespace: "replaced" }, ({ path }) => ({
      contents: REPLACED[path] ?? "",
      loader: "js",
    }));
  },
};

/**
 * Swagger UI and the gates are embedded as zstd, at less than a quarter and a half of their size. Their readers (lib/http/openapi/swagger-ui.ts,
 * lib/docker/containers/gate-binary.ts) tell by the first bytes.
 */
const compressFiles: Bun.BunPlugin = {
  name: "compress-files",
  setup(build) {
    build.onLoad({ filter: /\/swagger-ui-dist\/.+\.(js|css)$|\/gate\/bin\/gate-(x64|arm64)$/ }, async ({ path }) => ({
      contents: Bun.zstdCompressSync(await Bun.file(path).bytes(), { level: 22 }),
      loader: "file",
    }));
  },
};

/** Compiles the server for one architecture; Bun fetches the runtime of another one from the npm registry, once. */
export async function build(architecture: Architecture): Promise<string> {
  const outfile = binaryPath(architecture);
  await mkdir(inRepository("dist"), { recursive: true });
  // In a directory of its own: Bun leaves copies of the maps beside the binary, which has them inside.
  await using scratch = await scratchDirectory();
  const made = join(scratch.path, basename(outfile));
  const result = await Bun.build({
    entrypoints: [inRepository("index.ts")],
    compile: {
      target: TARGETS[architecture],
      outfile: made,
      execArgv: [`--max-http-header-size=${HEADER_BYTES}`],
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    // Bytecode takes the start to the first answer from 46 to 19 ms; the maps give stacks their own lines.
    minify: true,
    bytecode: true,
    format: "esm",
    // What is imported later is loaded later, its bytecode and the modules of Bun that it needs too.
    splitting: true,
    sourcemap: "inline",
    plugins: [replaceUnused, compressFiles],
    throw: false,
  });
  if (result.success) {
    await rename(made, outfile);
    return outfile;
  }
  throw new SetupError(
    `Cannot compile the server for ${architecture}:\n${result.logs.map((log) => log.message).join("\n")}`,
  );
}

async function scratchDirectory(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(inRepository("dist", "build-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
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
