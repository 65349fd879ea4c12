// `bun .ci/compile-server.ts TARGET`: the server as one file in dist/, for `build.ts`. It is a process of its own
// because a process that has once failed to find a package never finds it (Bun 1.4.5): packages are installed first.
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { HEADER_BYTES } from "../lib/domain/limits.ts";
import { binaryPath, isTarget, type Target, TARGETS } from "./architectures.ts";
import { bundleFrontEnd } from "./front-end.ts";
import { SetupError } from "./packages.ts";
import { inRepository, main } from "./steps.ts";

/** Modules that packages import and the server never runs, or that Bun has itself; each with its replacement. */
const REPLACED: Readonly<Record<string, string>> = {
  // docker-modem loads it only if DOCKER_HOST is ssh://, which the server refuses. Its optional native parts
  // would be embedded whatever architecture they are for.
  ssh2: "module.exports = {};",
  // Prints for DEBUG=modem.
  debug: "module.exports = () => () => undefined;",
  // Node.js's streams as a package; docker-modem takes `Duplex` from it.
  "readable-stream": 'module.exports = require("node:stream");',
  // Elysia loads it only if a schema has a file.
  "file-type": "module.exports = {};",
  // The style sheet of a page of @elysiajs/swagger that we do not serve.
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
 * Embeds Swagger UI, the dashboard's bundles, the manual's pages and the gates as zstd, at a quarter to a half of their size. Their
 * readers (lib/http/docs/embedded-file.ts, lib/docker/containers/gate-binary.ts) recognize it by the first bytes.
 */
const compressFiles = (bundles: ReadonlyMap<string, Uint8Array>): Bun.BunPlugin => ({
  name: "compress-files",
  setup(build) {
    const filter =
      /\/swagger-ui-dist\/.+\.(js|css)$|\/gate\/bin\/gate-(x64|arm64)$|\/lib\/ui\/(start\.js|style\.css)$|\/lib\/docs\/.+\.md$/;
    build.onLoad({ filter }, async ({ path }) => ({
      contents: Bun.zstdCompressSync(bundles.get(path) ?? (await Bun.file(path).bytes()), { level: 22 }),
      loader: "file",
    }));
  },
});

/** Compiles the server for one target. Bun fetches the runtime of a foreign one from the npm registry, once. */
async function compileServer(target: Target): Promise<void> {
  const outfile = binaryPath(target);
  await mkdir(inRepository("dist"), { recursive: true });
  // In a directory of its own: Bun leaves copies of the source maps next to the binary, which also contains them.
  await using scratch = await scratchDirectory();
  const made = join(scratch.path, basename(outfile));
  const { bundles } = await bundleFrontEnd();
  const result = await Bun.build({
    entrypoints: [inRepository("index.ts")],
    compile: {
      target: `bun-linux-${target}`,
      outfile: made,
      execArgv: [`--max-http-header-size=${HEADER_BYTES}`],
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    // Bytecode takes the start to the first answer from 46 to 19 ms; source maps put our own lines into stacks.
    minify: true,
    bytecode: true,
    format: "esm",
    // Dynamic imports stay dynamic: their bytecode and the Bun modules they need are loaded on first use.
    splitting: true,
    sourcemap: "inline",
    plugins: [replaceUnused, compressFiles(bundles)],
    throw: false,
  });
  if (!result.success) {
    const reasons = result.logs.map((log) => log.message).join("\n");
    throw new SetupError(`Cannot compile the server for ${target}:\n${reasons}`);
  }
  await rename(made, outfile);
}

/** Returns the files that the bundler takes, as paths from the root, for the bill of materials. */
export async function bundledFiles(): Promise<readonly string[]> {
  const { success, logs, metafile } = await Bun.build({
    entrypoints: [inRepository("index.ts")],
    root: inRepository(),
    target: "bun",
    format: "esm",
    splitting: true,
    metafile: true,
    plugins: [replaceUnused],
    throw: false,
  });
  if (!success) throw new SetupError(`Cannot bundle the server:\n${logs.map((log) => log.message).join("\n")}`);
  const { inputs } = await bundleFrontEnd();
  return [...Object.keys(metafile?.inputs ?? {}), ...inputs].map((path) => relative(inRepository(), resolve(path)));
}

async function scratchDirectory(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(inRepository("dist", "build-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

if (import.meta.main) {
  await main(async () => {
    const [target = ""] = process.argv.slice(2);
    if (!isTarget(target)) throw new SetupError(`Name a target: ${TARGETS.join(", ")}`);
    await compileServer(target);
    return 0;
  });
}
