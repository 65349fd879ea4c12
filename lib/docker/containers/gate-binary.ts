import { AppError } from "../../domain/errors.ts";
// Built by .ci/build-gate.ts; `bun build --compile` embeds them.
import arm64 from "../../gate/bin/gate-arm64" with { type: "file" };
import x64 from "../../gate/bin/gate-x64" with { type: "file" };

/** The gate for one architecture, and its file name in the gate volume. */
export interface GateBinary {
  /** Contains a hash of the bytes, so that gates of several versions can exist side by side. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** By the names of architectures in `/info` (the kernel's) and in images (Go's). */
const PATHS: ReadonlyMap<string, string> = new Map([
  ["x86_64", x64],
  ["amd64", x64],
  ["aarch64", arm64],
  ["arm64", arm64],
]);

const loaded = new Map<string, Promise<GateBinary>>();

/** Returns the gate for an engine's architecture; throws `engine_unavailable` if there is none. Read once, then kept. */
export function gateBinary(architecture: string): Promise<GateBinary> {
  const path = PATHS.get(architecture);
  if (path === undefined) {
    const message = `Cannot run functions on this engine: its architecture is "${architecture}", and there is a gate for x86_64 and aarch64 only`;
    return Promise.reject(new AppError("engine_unavailable", message));
  }
  const known = loaded.get(path);
  if (known) return known;
  const reading = read(path);
  loaded.set(path, reading);
  return reading;
}

async function read(path: string): Promise<GateBinary> {
  const file = await Bun.file(path).bytes();
  // The server's build embeds them as zstd, and no ELF file begins like that.
  const bytes = file[0] === 0x28 && file[1] === 0xb5 ? await Bun.zstdDecompress(file) : file;
  const hash = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  return { name: `gate-${hash.slice(0, 16)}`, bytes };
}
