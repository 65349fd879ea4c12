import { posix } from "node:path";
import { Type, type Static } from "@sinclair/typebox";
import { PATH_LENGTH, VOLUMES } from "../limits.ts";
import { quoted } from "../quoted.ts";
import { Flag } from "../types.ts";

/** A named volume of the engine, and where a function finds it. */
export const NamedVolume = Type.Object(
  {
    name: Type.String({
      pattern: "^[a-zA-Z0-9][a-zA-Z0-9_.-]+$",
      maxLength: VOLUMES.name_length,
      description: "The volume's name; the engine creates one that is missing. Never a path of the host.",
      examples: ["models"],
    }),
    path: Type.String({
      minLength: 2,
      maxLength: PATH_LENGTH,
      description: "Where it is mounted: an absolute path.",
      examples: ["/models"],
    }),
    read_only: Flag("Whether the function can only read it."),
  },
  { additionalProperties: false },
);
export type NamedVolume = Static<typeof NamedVolume>;

/** The same as a request gives it: writable unless it says otherwise. */
export const GivenVolume = Type.Composite(
  [Type.Omit(NamedVolume, ["read_only"]), Type.Partial(Type.Pick(NamedVolume, ["read_only"]))],
  { additionalProperties: false },
);
export type GivenVolume = Static<typeof GivenVolume>;

/** Returns a volume as a request gives it with all its fields. */
export function fullVolume({ name, path, read_only = false }: GivenVolume): NamedVolume {
  return { name, path, read_only };
}

/**
 * Directories that the kernel, the engine or the gate fills in every container. The gate clears `/tmp` and `/dev/shm`
 * between two calls, and `/run/secrets` is where secrets are.
 */
const RESERVED = ["/proc", "/sys", "/dev", "/tmp", "/run/secrets"];

/** The longest name of a file (NAME_MAX), in bytes. */
const COMPONENT_BYTES = 255;

/** Returns whether two clean paths are the same, or one is above the other. */
export function overlap(a: string, b: string): boolean {
  return a === b || a === "/" || b === "/" || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}

/** Returns what is wrong with a function's volumes, or nothing. */
export function volumesProblem(volumes: readonly NamedVolume[], sandbox: string): string | undefined {
  for (const [at, { name, path, read_only }] of volumes.entries()) {
    const problem = pathProblem(path);
    if (problem !== undefined) return `Invalid "volumes/${at}/path" ${quoted(path)}: ${problem}`;
    const other = volumes.slice(0, at).find((before) => overlap(before.path, path));
    if (other !== undefined) {
      return `Invalid "volumes/${at}/path" ${quoted(path)}: it is the same as, above or below ${quoted(other.path)}, where the volume "${other.name}" is: give another path`;
    }
    if (sandbox === "strict" && !read_only) {
      return `The volume "${name}" is writable, and the sandbox "strict" leaves nothing of a call behind: set its "read_only", or give the sandbox "default"`;
    }
  }
  return undefined;
}

function pathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return "it must be an absolute path";
  if (!path.isWellFormed() || path.includes("\0")) return "it contains a NUL character or half of a surrogate pair";
  const clean = posix.normalize(path).replace(/(?<=.)\/$/, "");
  if (clean !== path) return `write it as ${quoted(clean)}`;
  if (path === "/") return "a volume cannot be the root directory";
  if (path.split("/").some((name) => Buffer.byteLength(name) > COMPONENT_BYTES)) {
    return `no name in it may have more than ${COMPONENT_BYTES} bytes`;
  }
  if (Buffer.byteLength(path) > PATH_LENGTH) return `it may have at most ${PATH_LENGTH} bytes`;
  const reserved = RESERVED.find((directory) => overlap(directory, path));
  return reserved && `it must not be at, above or below ${reserved}`;
}
