import { AppError, messageOf } from "../errors.ts";
import type { ParseText } from "./parser-thread.ts";
import { MANIFEST_ALIASED_BYTES, MANIFEST_BYTES } from "../limits.ts";

/** A possible alias: a star where a value can begin, and a name. */
const ALIAS = /(?<![^\s,[\]{}:-])\*[^\s,[\]{}"'*]/g;
/** The number of lines that are tried after one at which the text seems to end too early: a value may be that long. */
const LOOK_AHEAD = 50;
/** The most bytes to parse in search of a wrong line: half a second of a thread. */
const SEARCH_LENGTH = 16 * MANIFEST_BYTES;

/** Parses the text of a manifest: YAML, which includes JSON. Throws `invalid_request` and `payload_too_large`. */
export async function parseManifestText(written: string, parse: ParseText): Promise<unknown> {
  // The byte order mark that some editors write.
  const text = written.replace(/^\u{feff}/u, "");
  const bytes = Buffer.byteLength(text);
  if (bytes > MANIFEST_BYTES) {
    throw new AppError(
      "payload_too_large",
      `The manifest has ${bytes} bytes: at most ${MANIFEST_BYTES} are allowed; apply it in parts`,
    );
  }
  const json = text.trimStart().startsWith("{") ? await parsedJson(text, parse) : undefined;
  if (json !== undefined) return json;
  // Before parsing: the parser copies a text for each alias, and a few kilobytes could take all memory.
  if (text.includes("*") && (text.match(ALIAS)?.length ?? 0) * bytes > MANIFEST_ALIASED_BYTES) {
    throw invalidYaml("it has too many aliases (*name) for its size: write out what they stand for");
  }
  try {
    return await parse(text, "yaml", true);
  } catch (error) {
    throw error instanceof AppError ? error : invalidYaml(await yamlProblem(text, error, parse));
  }
}

/** Parses JSON with its own parser, which accepts all of it; undefined for other texts, which may still be YAML. */
async function parsedJson(text: string, parse: ParseText): Promise<unknown> {
  try {
    return await parse(text, "json", true);
  } catch (error) {
    if (error instanceof AppError) throw error;
    return undefined;
  }
}

function invalidYaml(problem: string): AppError {
  return new AppError("invalid_request", `The manifest is not valid YAML: ${problem}`);
}

async function yamlProblem(text: string, error: unknown, parse: ParseText): Promise<string> {
  if (error instanceof RangeError) {
    return error.message.startsWith("Out of memory")
      ? "it is too large when all aliases and merges are followed"
      : "it is nested too deeply";
  }
  const line = await wrongLine(text, parse);
  const why = messageOf(error).replace(/^YAML Parse error: /, "");
  return `${why.charAt(0).toLowerCase()}${why.slice(1)}${line === undefined ? "" : `, near line ${line}`}`;
}

/**
 * Finds the line of a mistake, which the parser does not report: a binary search for the line up to which the text
 * parses. A value of several lines does not parse until its end, so some more lines are tried before one is blamed.
 */
async function wrongLine(text: string, parse: ParseText): Promise<number | undefined> {
  const ends = lineEnds(text);
  let left = SEARCH_LENGTH;
  const fine = async (count: number) => {
    if (left < 0) return false;
    const head = text.slice(0, ends[count - 1]);
    left -= head.length;
    if (left < 0) return false;
    try {
      await parse(head, "yaml", false);
      return true;
    } catch {
      return false;
    }
  };
  let good = 0;
  let bad = ends.length;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    const further = (await fine(middle)) ? middle : await nextFine(fine, middle, Math.min(bad, middle + LOOK_AHEAD));
    if (further === undefined) bad = middle;
    else good = further;
  }
  return left < 0 ? undefined : bad;
}

/** Returns where each line ends. */
function lineEnds(text: string): number[] {
  const ends: number[] = [];
  for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", end + 1)) ends.push(end);
  return [...ends, text.length];
}

async function nextFine(
  fine: (count: number) => Promise<boolean>,
  from: number,
  to: number,
): Promise<number | undefined> {
  for (let count = from + 1; count < to; count++) if (await fine(count)) return count;
  return undefined;
}
