// `bun run release [--repository OWNER/NAME] [--tag TAG]`: the files that people download, in dist/release/. With a repository,
// its name is in the install script and the compose file; with a tag, it must be that of the version in package.json.
import { createReadStream, createWriteStream } from "node:fs";
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { constants, createGzip } from "node:zlib";
import { version } from "../package.json" with { type: "json" };
import { runOrThrow } from "./packages.ts";
import { TARGETS } from "./architectures.ts";
import { build } from "./build.ts";
import { buildGate } from "./build-gate.ts";
import { checkTag, composeFile, installScript } from "./release/files.ts";
import { inRepository, installPackages, main, say } from "./steps.ts";

const DIRECTORY = inRepository("dist", "release");

await main(async () => {
  const { values } = parseArgs({ options: { repository: { type: "string" }, tag: { type: "string" } } });
  if (values.tag !== undefined) checkTag(values.tag, version);
  await installPackages();
  await buildGate();
  await rm(DIRECTORY, { recursive: true, force: true });
  await mkdir(DIRECTORY, { recursive: true });
  for (const target of TARGETS) {
    say(`slipway-linux-${target}`);
    await compress(await build(target));
  }
  say("Documents, bill of materials, scripts and sums");
  await writeFiles(values.repository);
  await writeSums();
  for (const name of await readdir(DIRECTORY)) {
    console.log(`${String(Bun.file(join(DIRECTORY, name)).size).padStart(10)} ${name}`);
  }
  return 0;
});

/** Writes everything but the binaries and the sums. */
async function writeFiles(repository: string | undefined): Promise<void> {
  const write = (name: string, text: string) => Bun.write(join(DIRECTORY, name), text);
  const read = (...path: string[]) => Bun.file(inRepository(...path)).text();
  await write("openapi.json", await script("index.ts", "openapi"));
  await write("openapi-full.json", await script("index.ts", "openapi", "--full"));
  await write("sbom.cdx.json", await script(".ci/release/sbom.ts"));
  await write("install.sh", installScript(await read(".ci", "release", "install.sh"), repository));
  await write("docker-compose.yml", composeFile(await read("docker-compose.yml"), repository, version));
  await copyFile(inRepository(".ci", "slipway.service"), join(DIRECTORY, "slipway.service"));
  for (const name of ["grafana-dashboard.json", "alert-rules.yaml"])
    await copyFile(inRepository("lib", "docs", "monitoring", name), join(DIRECTORY, name));
  for (const name of ["haproxy.cfg", "kubernetes.yaml", "several-machines.conf", "swarm-stack.yml"])
    await copyFile(inRepository("lib", "docs", "deploy", name), join(DIRECTORY, name));
}

/** With gzip, because every machine has it; zstd would save a fifth. */
async function compress(binary: string): Promise<void> {
  const target = createWriteStream(join(DIRECTORY, `${basename(binary)}.gz`));
  await pipeline(createReadStream(binary), createGzip({ level: constants.Z_BEST_COMPRESSION }), target);
}

/** Returns what a script prints in an empty environment, so that nothing of this machine gets into it. */
async function script(path: string, ...args: string[]): Promise<string> {
  return runOrThrow(["env", "-i", process.execPath, inRepository(path), ...args]);
}

/** Writes SHA256SUMS, which `sha256sum -c` reads. */
async function writeSums(): Promise<void> {
  const names = (await readdir(DIRECTORY)).toSorted();
  const lines = names.map(async (name) => {
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of Bun.file(join(DIRECTORY, name)).stream()) hash.update(chunk);
    return `${hash.digest("hex")}  ${name}\n`;
  });
  await Bun.write(join(DIRECTORY, "SHA256SUMS"), (await Promise.all(lines)).join(""));
}
