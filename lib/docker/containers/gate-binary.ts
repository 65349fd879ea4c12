import { AppError } from "../../domain/errors.ts";

/** The gate for one architecture, and the file name that it has in the gate volume. */
export interface GateBinary {
  /** Contains a hash of the bytes, so that the gates of several versions can live side by side. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * Imports of the files that .ci/build-gate.ts makes. `bun build --compile` embeds them. They are not at the top of
 * this file because a module that imports a missing file cannot be loaded at all, and nothing could report why.
 */
const IMPORTS = {
  x64: () => import("../../gate/bin/gate-x64", { with: { type: "file" } }),
  arm64: () => import("../../gate/bin/gate-arm64", { with: { type: "file" } }),
} as const;

type Architecture = keyof typeof IMPORTS;

/** By the names that engines give architectures in `/info` (the kernel's) and in images (Go's). */
const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([
  ["x86_64", "x64"],
  ["amd64", "x64"],
  ["aarch64", "arm64"],
  ["arm64", "arm64"],
]);

const loaded = new Map<Architecture, Promise<GateBinary>>();

/** Returns the gate for an engine's architecture; throws `engine_unavailable` if there is none. Read once, then kept. */
export async function gateBinary(name: string): Promise<GateBinary> {
  const architecture = ARCHITECTURES.get(name);
  if (architecture === undefined) {
    const message = `Cannot run functions on this engine: its architecture is "${name}", and there is a gate for x86_64 and aarch64 only`;
    throw new AppError("engine_unavailable", message);
  }
  const known = loaded.get(architecture);
  if (known) return known;
  const reading = read(architecture);
  loaded.set(architecture, reading);
  return reading;
}

/** Throws if the gates have not been built. Only a server that runs from its sources can lack them. */
export async function requireGates(): Promise<void> {
  await Promise.all([pathOf("x64"), pathOf("arm64")]);
}

async function read(architecture: Architecture): Promise<GateBinary> {
  const file = await Bun.file(await pathOf(architecture)).bytes();
  // The server's build embeds them as zstd, and no ELF file begins like that.
  const bytes = file[0] === 0x28 && file[1] === 0xb5 ? await Bun.zstdDecompress(file) : file;
  const hash = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  return { name: `gate-${hash.slice(0, 16)}`, bytes };
}

async function pathOf(architecture: Architecture): Promise<string> {
  try {
    return (await IMPORTS[architecture]()).default;
  } catch (cause) {
    const message =
      `Cannot find the gate for ${architecture}: it has not been built. Run "bun run start", which builds it and ` +
      `starts the server, or "bun .ci/build-gate.ts" to build it alone`;
    throw new Error(message, { cause });
  }
}
