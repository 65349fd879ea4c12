import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { runOrThrow } from "../../../.ci/packages.ts";
import { version } from "../../../package.json" with { type: "json" };
import { copyRepository, REPOSITORY } from "./support/repository.ts";

/** Installs packages from Bun's cache, and compiles the gate and the server. */
const BUILD_TIMEOUT_MS = 300_000;

const HERE = process.arch === "arm64" ? "arm64" : "x64";

let clone: string;

beforeAll(async () => {
  clone = await mkdtemp(join(tmpdir(), "slipway-clone-"));
  await copyRepository(clone);
});

afterAll(() => rm(clone, { recursive: true, force: true }));

test(
  "bun run build works at the first try in a fresh clone",
  async () => {
    expect(existsSync(join(clone, "node_modules"))).toBe(false);
    await runOrThrow(["env", "-C", clone, process.execPath, "run", "build", HERE]);
    const binary = join(clone, "dist", `slipway-linux-${HERE}`);
    expect(await runOrThrow([binary, "--version"])).toBe(`slipway ${version}\n`);
  },
  BUILD_TIMEOUT_MS,
);

const scripts = [...new Bun.Glob(".ci/*.ts").scanSync({ cwd: REPOSITORY, dot: true })].toSorted();

test.each(scripts)("%s can be loaded before the packages are installed", async (script) => {
  expect(await packagesBehind(script)).toEqual([]);
});

const transpiler = new Bun.Transpiler({ loader: "ts" });

/** The packages that a file needs to be loaded, each with the file that imports it; types are gone by then. */
async function packagesBehind(start: string): Promise<string[]> {
  const found: string[] = [];
  const files = new Set([start]);
  // The set grows while it is walked.
  for (const file of files) {
    for (const { path } of transpiler.scanImports(await Bun.file(join(REPOSITORY, file)).text())) {
      if (path.endsWith(".json")) continue;
      if (path.startsWith(".")) files.add(join(dirname(file), path));
      else if (!/^(?:node|bun)(?::|$)/.test(path)) found.push(`${file}: ${path}`);
    }
  }
  return found;
}
