import { posix } from "node:path";
import { quoted } from "../../domain/quoted.ts";

/** The directory of the gate in a function's container. */
export const GATE_DIRECTORY = "/.slipway";

/** Returns a volume's path as engines read it: cleaned, and from the root even if its image does not say so. */
export function pathOf(volume: string): string {
  return posix.normalize(`/${volume}`).replace(/(?<=.)\/$/, "");
}

/**
 * Returns what is wrong with an image's volumes, or nothing. The engine mounts them into the same tree as our directory:
 * one above it hides the gate, one below it needs a directory in our volume, and one at it is not what its image expects.
 */
export function volumeProblem(volumes: readonly string[]): string | undefined {
  const wrong = volumes.find((volume) => collides(pathOf(volume)));
  if (wrong === undefined) return undefined;
  const where = `${GATE_DIRECTORY}, where Slipway's own files are`;
  return `its VOLUME ${quoted(wrong)} lies at, above or below ${where}: use another path in its Dockerfile`;
}

function collides(path: string): boolean {
  return path === "/" || path === GATE_DIRECTORY || path.startsWith(`${GATE_DIRECTORY}/`);
}

/**
 * Returns the tmpfs mounts that keep the engine from making volumes for a container that is never started: it would copy
 * into them all that the image has there. They stay empty names, as a tmpfs comes into being at the start.
 */
export function withoutVolumes({ volumes }: { readonly volumes: readonly string[] }): Readonly<Record<string, string>> {
  return Object.fromEntries(volumes.map(pathOf).flatMap((path) => (collides(path) ? [] : [[path, ""]])));
}
