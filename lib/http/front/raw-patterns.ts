/** The segments of a path that are compared. Deeper ones may still be read in two ways, but only below these. */
const COMPARED = 16;

/** A pattern of `Bun.serve` for paths of some number of segments, and what follows these: nothing, or an empty segment. */
export interface RawPattern {
  readonly pattern: string;
  readonly end: "" | "/";
}

/** Matches "/", or an empty segment at the beginning. */
export const ROOT_PATTERN = "/*";

/** Returns patterns for all other paths: one for each number of segments, and one for what follows them after an empty segment. */
export function rawPatterns(): readonly RawPattern[] {
  const patterns: RawPattern[] = [];
  let pattern = "";
  for (let count = 1; count <= COMPARED; count++) {
    pattern += `/:s${count}`;
    patterns.push({ pattern, end: "" }, { pattern: `${pattern}/*`, end: "/" });
  }
  return patterns;
}
