// `bun run release`: the files that people download, in dist/release/.
import { createReadStream, createWriteStream } from "node:fs";
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { constants, createGzip } from "node:zlib";
import { runOrThrow } from "./packages.ts";
import { ARCHITECTURES } from "./architectures.ts";
import { build } from "./build.ts";
import { buildGate } from "./build-gate.ts";
import { inRepository, installPackages, main, say } from "./steps.ts";

const DIRECTORY = inRepository("dist", "release");

await main(async () => {
  await installPackages();
  await buildGate();
  await rm(DIRECTORY, { recursive: true, force: true });
  await mkdir(DIRECTORY, { recursive: true });
  for (const architecture of ARCHITECTURES) {
    say(`slipway-linux-${architecture}`);
    await compress(await build(architecture));
  }
  say("Document, unit, compose file and sums");
  await Bun.write(join(DIRECTORY, "openapi.json"), await openApiDocument());
  await copyFile(inRepository(".ci", "slipway.service"), join(DIRECTORY, "slipway.service"));
  await copyFile(inRepository("docker-compose.yml"), join(DIRECTORY, "docker-compose.yml"));
  await writeSums();
  for (const name of await readdir(DIRECTORY)) {
    console.log(`${String(Bun.file(join(DIRECTORY, name)).size).padStart(10)} ${name}`);
  }
  return 0;
});

/** With gzip, because every machine has it; zstd would save a fifth. */
async function compress(binary: string): Promise<void> {
  const target = createWriteStream(join(DIRECTORY, `${basename(binary)}.gz`));
  await pipeline(createReadStream(binary), createGzip({ level: constants.Z_BEST_COMPRESSION }), target);
}

/** As the server prints it, with an empty environment so that nothing of this machine gets into it. */
async function openApiDocument(): Promise<string> {
  return runOrThrow(["env", "-i", process.execPath, inRepository("index.ts"), "openapi"]);
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
