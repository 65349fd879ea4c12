import { join } from "node:path";
import { cp } from "node:fs/promises";
import { baseImage, type BaseImage } from "./base-images.ts";
import { EngineError, type EngineClient } from "./engine-client.ts";
import { buildDirectory, hasImage, withDirectory } from "./image-tree.ts";

const FUNCTIONS = join(import.meta.dir, "../../functions");

/** The base image of each sample and its stand-in. */
const SAMPLES = {
  "hello-world": { base: "oven/bun:1", standIn: "bun" },
  "hello-sh": { base: "busybox:1", standIn: "busybox" },
  "http-sh": { base: "busybox:1", standIn: "busybox" },
  "checksum-stdio": { base: "busybox:1", standIn: "busybox" },
  "http-server": { base: "oven/bun:1", standIn: "bun" },
  "lambda-sh": { base: "busybox:1", standIn: "busybox" },
  page: { base: "busybox:1", standIn: "busybox" },
} as const satisfies Record<string, { base: string; standIn: BaseImage }>;

export type SampleName = keyof typeof SAMPLES;

/** The time that the registry may take to confirm that it has an image. */
const REGISTRY_TIMEOUT_MS = 15_000;

/** A sample's image and, if it was not built on its own base image, the reason. */
export interface Sample {
  readonly reference: string;
  readonly standInBecause?: string;
}

/**
 * Builds `functions/<name>` as `slipway/<name>`, as its README says. If its base image is missing and cannot be pulled
 * (`offline` does not try), a stand-in made from this machine's files replaces it.
 */
export async function buildSample(client: EngineClient, name: SampleName, offline = false): Promise<Sample> {
  const { base, standIn } = SAMPLES[name];
  const reference = `slipway/${name}:latest`;
  const reason = offline ? "no registry was asked" : await ensureImage(client, base);
  await withDirectory(async (directory) => {
    await cp(join(FUNCTIONS, name), directory, { recursive: true });
    const dockerfile = Bun.file(join(directory, "Dockerfile"));
    const own = await dockerfile.text();
    if (!own.startsWith(`FROM ${base}\n`))
      throw new Error(`functions/${name}/Dockerfile does not begin with "FROM ${base}"`);
    if (reason !== undefined) await dockerfile.write(own.replace(base, await baseImage(client, standIn)));
    await buildDirectory(client, directory, reference);
  });
  return reason === undefined ? { reference } : { reference, standInBecause: `Cannot pull "${base}": ${reason}` };
}

/** Pulls an image if the engine does not have it; returns why that failed, or undefined. */
export async function ensureImage(client: EngineClient, reference: string): Promise<string | undefined> {
  if (await hasImage(client, reference)) return undefined;
  try {
    // Checked first, with a deadline: without a network a pull may hang for minutes, and with one it may take as long.
    await client.json("GET", `/distribution/${reference}/json`, { signal: AbortSignal.timeout(REGISTRY_TIMEOUT_MS) });
    const [image = "", tag = ""] = reference.split(":");
    await client.progress("POST", `/images/create?fromImage=${image}&tag=${tag}`);
    return undefined;
  } catch (error) {
    if (error instanceof EngineError) return error.message.trim();
    return "the registry did not answer";
  }
}
