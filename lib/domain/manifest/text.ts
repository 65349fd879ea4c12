import { AppError, messageOf } from "../errors.ts";
import { MANIFEST_ALIASED_BYTES, MANIFEST_BYTES } from "../limits.ts";

/** A possible alias: a star where a value can begin, and a name. */
const ALIAS = /(?<![^\s,[\]{}:-])\*[^\s,[\]{}"'*]/g;
/** The number of lines that are tried after one at which the text seems to end too early: a value may be that long. */
const LOOK_AHEAD = 50;
/** The most bytes to parse in search of a wrong line: half a second of the event loop. */
const SEARCH_LENGTH = 16 * MANIFEST_BYTES;

/** Parses the text of a manifest: YAML, which includes JSON. Throws `invalid_request` and `payload_too_large`. */
export function parseManifestText(written: string): unknown {
  // The byte order mark that some editors write.
  const text = written.replace(/^\u{feff}/u, "");
  const bytes = Buffer.byteLength(text);
  if (bytes > MANIFEST_BYTES) {
    throw new AppError(
      "payload_too_large",
      `The manifest has ${bytes} bytes: at most ${MANIFEST_BYTES} are allowed; apply it in parts`,
    );
  }
  const json = text.trimStart().startsWith("{") ? parsedJson(text) : undefined;
  if (json !== undefined) return json;
  // Before parsing: the parser copies a text for each alias, and a few kilobytes could take all memory.
  if ((text.match(ALIAS)?.length ?? 0) * bytes > MANIFEST_ALIASED_BYTES) {
    throw invalidYaml("it has too many aliases (*name) for its size: write out what they stand for");
  }
  try {
    return Bun.YAML.parse(text);
  } catch (error) {
    throw invalidYaml(yamlProblem(text, error));
  }
}

/** Parses JSON with its own parser, which accepts all of it; undefined for other texts, which may still be YAML. */
function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function invalidYaml(problem: string): AppError {
  return new AppError("invalid_request", `The manifest is not valid YAML: ${problem}`);
}

function yamlProblem(text: string, error: unknown): string {
  if (error instanceof RangeError) {
    return error.message.startsWith("Out of memory")
      ? "it is too large when all aliases and merges are followed"
      : "it is nested too deeply";
  }
  const line = wrongLine(text);
  const why = messageOf(error).replace(/^YAML Parse error: /, "");
  return `${why.charAt(0).toLowerCase()}${why.slice(1)}${line === undefined ? "" : `, near line ${line}`}`;
}

/**
 * Finds the line of a mistake, which the parser does not report: a binary search for the line up to which the text
 * parses. A value of several lines does not parse until its end, so some more lines are tried before one is blamed.
 */
function wrongLine(text: string): number | undefined {
  const lines = text.split("\n");
  let left = SEARCH_LENGTH;
  const fine = (count: number) => {
    const head = lines.slice(0, count).join("\n");
    left -= head.length;
    if (left < 0) return false;
    try {
      Bun.YAML.parse(head);
      return true;
    } catch {
      return false;
    }
  };
  let good = 0;
  let bad = lines.length;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    const further = fine(middle) ? middle : nextFine(fine, middle, Math.min(bad, middle + LOOK_AHEAD));
    if (further === undefined) bad = middle;
    else good = further;
  }
  return left < 0 ? undefined : bad;
}

function nextFine(fine: (count: number) => boolean, from: number, to: number): number | undefined {
  for (let count = from + 1; count < to; count++) if (fine(count)) return count;
  return undefined;
}
