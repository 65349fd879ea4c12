// `bun run release`: what people download, in dist/release/.
import { createReadStream, createWriteStream } from "node:fs";
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { constants, createGzip } from "node:zlib";
import { runOrThrow } from "./packages.ts";
import { ARCHITECTURES, build } from "./build.ts";
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

/** gzip, because it is everywhere; zstd would save a fifth. */
async function compress(binary: string): Promise<void> {
  const target = createWriteStream(join(DIRECTORY, `${basename(binary)}.gz`));
  await pipeline(createReadStream(binary), createGzip({ level: constants.Z_BEST_COMPRESSION }), target);
}

/** As the server itself prints it; what it reads from the environment must not get into it. */
async function openApiDocument(): Promise<string> {
  return runOrThrow(["env", "-i", process.execPath, inRepository("index.ts"), "openapi"]);
}

/** In the form that `sha256sum -c` reads. */
async function writeSums(): Promise<void> {
  const names = (await readdir(DIRECTORY)).toSorted();
  const lines = names.map(async (name) => {
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of Bun.file(join(DIRECTORY, name)).stream()) hash.update(chunk);
    return `${hash.digest("hex")}  ${name}\n`;
  });
  await Bun.write(join(DIRECTORY, "SHA256SUMS"), (await Promise.all(lines)).join(""));
}
