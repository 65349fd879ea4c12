import { isHeaderName, isHeaderValue, responseHeaderProblem } from "../../domain/calls/headers.ts";
import type { ResponseHeader } from "../../domain/calls/http-message.ts";
import { CGI_HEAD_BYTES, RESPONSE_HEADERS } from "../../domain/limits.ts";

/** The output of a CGI program, cut into its head and its body. */
export interface CgiResponse {
  readonly status: number;
  /** Names in lower case, in the order in which they were printed. */
  readonly headers: readonly ResponseHeader[];
  /** Lines for the function's log about the headers that are left out, each with the reason. */
  readonly dropped: readonly string[];
  readonly body: Uint8Array;
}

/**
 * Thrown for a wrong head. The message ends a sentence that begins with `its output`. It never has a part of the output but
 * names that are known here: what a function prints may be a secret.
 */
class InvalidHead extends Error {}

/** The headers that mean something in CGI (RFC 3875, 6.3). A head has one of them at least, and none of them twice. */
const CGI_FIELDS: ReadonlySet<string> = new Set(["status", "content-type", "location"]);

const OK = 200;
const FOUND = 302;

/** Reads the output of a CGI program (RFC 3875, 6), or returns the problem with it as the end of a sentence about `its output`. */
export function parseCgiOutput(output: Uint8Array): CgiResponse | { readonly problem: string } {
  try {
    return readOutput(output);
  } catch (error) {
    if (error instanceof InvalidHead) return { problem: error.message };
    throw error;
  }
}

/** Returns whether an output has the empty line that ends its head; it is looked for from a byte on, and there was none before. */
export function hasCgiHead(output: Uint8Array, from: number): boolean {
  // An empty line may have begun before; there may be more lines than one in a piece, but only those of the head are looked at.
  for (let at = output.indexOf(LF, Math.max(0, from - 2)); at !== -1; at = output.indexOf(LF, at + 1)) {
    const before = output[at - 1] === CR ? at - 2 : at - 1;
    if (before < 0 || output[before] === LF) return true;
  }
  return false;
}

function readOutput(output: Uint8Array): CgiResponse {
  const { lines, body } = splitHead(output);
  if (/^HTTP\/\d/.test(lines[0] ?? "")) {
    throw new InvalidHead('begins with a status line of HTTP: print a header such as "Status: 404 Not Found"');
  }
  const given = lines.map(readLine);
  const own = new Map<string, string>();
  for (const [name, value] of given) {
    if (!CGI_FIELDS.has(name)) continue;
    if (own.has(name)) throw new InvalidHead(`has the header "${name}" twice`);
    if (value === "") throw new InvalidHead(`has the header "${name}" without a value`);
    own.set(name, value);
  }
  if (own.size === 0) throw new InvalidHead("has none of the headers Content-Type, Location and Status");
  const sent = given.filter(([name]) => name !== "status");
  if (sent.length > RESPONSE_HEADERS) throw new InvalidHead(`has more than ${RESPONSE_HEADERS} headers`);
  const status = own.get("status");
  return {
    status: status === undefined ? (own.has("location") ? FOUND : OK) : readStatus(status),
    headers: sent.filter(([name]) => responseHeaderProblem(name) === undefined),
    dropped: sent.flatMap(([name]) => {
      const why = responseHeaderProblem(name);
      return why === undefined ? [] : [`the header "${name}" of the output is left out: ${why}`];
    }),
    body,
  };
}

const LF = 0x0a;
const CR = 0x0d;

/** Cuts the lines in front of the first empty one, which end with LF or CR LF, from what follows it. */
function splitHead(output: Uint8Array): { readonly lines: string[]; readonly body: Uint8Array } {
  if (output.length === 0) throw new InvalidHead("is empty: print headers and an empty line");
  const head = output.subarray(0, CGI_HEAD_BYTES);
  const lines: string[] = [];
  for (let start = 0; ;) {
    const end = head.indexOf(LF, start);
    if (end === -1) break;
    const line = head.subarray(start, head[end - 1] === CR && end > start ? end - 1 : end);
    if (line.length === 0) return { lines, body: output.subarray(end + 1) };
    lines.push(Buffer.from(line.buffer, line.byteOffset, line.length).toString("latin1"));
    start = end + 1;
  }
  throw new InvalidHead(
    output.length > CGI_HEAD_BYTES
      ? `has no empty line within ${CGI_HEAD_BYTES} bytes, where its headers must have ended`
      : "ends before the empty line that must follow its headers",
  );
}

/** Reads one header. A line that continues the one before it (RFC 7230 has abolished them) is none. */
function readLine(line: string, index: number): ResponseHeader {
  const which = `line ${index + 1}`;
  const colon = line.indexOf(":");
  if (colon === -1) throw new InvalidHead(`has no ":" in ${which}, which must be a header`);
  const name = line.slice(0, colon);
  if (!isHeaderName(name)) throw new InvalidHead(`has a malformed name of a header in ${which}`);
  const value = line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, "");
  if (!isHeaderValue(value)) throw new InvalidHead(`has a character that no header can have in ${which}: encode it`);
  return [name.toLowerCase(), value];
}

/** Reads the status, with or without its phrase. Functions cannot answer with 1xx: another answer would have to follow. */
function readStatus(value: string): number {
  const [, digits] = /^([2-5]\d\d)(?:[\t ].*)?$/.exec(value) ?? [];
  if (digits === undefined) throw new InvalidHead('has a "Status" that is no number from 200 to 599');
  return Number(digits);
}
