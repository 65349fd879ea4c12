import { isHeaderName, isHeaderValue } from "../../domain/calls/headers.ts";
import type { ResponseHeader } from "../../domain/calls/http-message.ts";
import { RESPONSE_HEAD_BYTES, RESPONSE_HEADERS } from "../../domain/limits.ts";
import { MalformedResponse } from "./malformed-response.ts";

/** The head of an answer. */
export interface ResponseHead {
  /** 200 to 599, or 101 if the request asked for another protocol. */
  readonly status: number;
  /** Names in lower case, in the order in which they came. */
  readonly headers: readonly ResponseHeader[];
  readonly framing: Framing;
  /** The length that the answer declares for its body, which an answer to HEAD does not have; null if it declares none. */
  readonly length: number | null;
  /** True if the function goes on listening on the connection behind this answer (RFC 9112, 9.3). */
  readonly persistent: boolean;
}

/** The way in which a body ends: it is empty, has a length, comes in chunks, or lasts until the connection is closed. */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until_close" };

/** The request that an answer is for. */
export interface AskedRequest {
  readonly method: string;
  /** True if 101 may be the answer. */
  readonly upgrade: boolean;
}

const LF = 0x0a;
const CR = 0x0d;

/** The statuses without a body, whatever their headers say (RFC 9112, 6.3). 205 has none either (RFC 9110, 15.3.6). */
const NO_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * Reads the head of an answer as it arrives, strictly by RFC 9112: every line ends with CR LF, no line continues another one,
 * and nothing says twice how the body ends. Interim answers (1xx) are dropped; they count towards the limit.
 */
export class ResponseHeadReader {
  readonly #asked: AskedRequest;
  #line: Uint8Array[] = [];
  #lines: string[] = [];
  #bytes = 0;

  constructor(asked: AskedRequest) {
    this.#asked = asked;
  }

  /** True if nothing of an answer has come. */
  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** Takes more bytes. Returns the head when it is complete, and the bytes behind it. Throws MalformedResponse. */
  push(bytes: Uint8Array): { readonly head: ResponseHead; readonly rest: Uint8Array } | undefined {
    for (let start = 0; start < bytes.length;) {
      const at = bytes.indexOf(LF, start);
      const end = at === -1 ? bytes.length : at + 1;
      this.#count(end - start);
      this.#line.push(bytes.subarray(start, end));
      start = end;
      if (at === -1) return undefined;
      const line = this.#takeLine();
      if (line !== "") this.#lines.push(line);
      else {
        const head = this.#takeHead();
        if (head !== undefined) return { head, rest: bytes.subarray(end) };
      }
    }
    return undefined;
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > RESPONSE_HEAD_BYTES)
      throw new MalformedResponse(`has a head of over ${RESPONSE_HEAD_BYTES} bytes`);
    if (this.#lines.length > RESPONSE_HEADERS + 1)
      throw new MalformedResponse(`has more than ${RESPONSE_HEADERS} headers`);
  }

  #takeLine(): string {
    const line = Buffer.concat(this.#line);
    this.#line = [];
    if (line[line.length - 2] !== CR) throw new MalformedResponse("has a line that ends without CR LF");
    return line.toString("latin1", 0, line.length - 2);
  }

  /** Returns the head of these lines, or nothing for an interim answer. */
  #takeHead(): ResponseHead | undefined {
    const [first, ...fields] = this.#lines;
    this.#lines = [];
    const status = readStatus(first);
    if (fields.length > RESPONSE_HEADERS) throw new MalformedResponse(`has more than ${RESPONSE_HEADERS} headers`);
    const headers = fields.map(readField);
    if (status === 101 && !this.#asked.upgrade) {
      throw new MalformedResponse("changes to another protocol, which nobody asked for");
    }
    if (status < 200 && status !== 101) return undefined;
    const old = isOld(first);
    return { status, headers, ...bodyOf(status, headers, old, this.#asked), persistent: !old && isKept(headers) };
  }
}

const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: [\t\u0020-\u007e\u0080-\u00ff]*)?$/;

function readStatus(line: string | undefined): number {
  const [, digits] = STATUS_LINE.exec(line ?? "") ?? [];
  if (digits === undefined) {
    throw new MalformedResponse("does not begin with a status line of HTTP/1.1 and a status from 200 to 599");
  }
  return Number(digits);
}

function isOld(line: string | undefined): boolean {
  return line?.startsWith("HTTP/1.0") ?? false;
}

/** A server that says in `Keep-Alive` that it waits for less than a second may be closing the connection already. */
const NO_WAIT = /(?:^|[\s,;])timeout\s*=\s*"?0*(?:$|[^\d])/i;

/** Returns whether nothing in the headers speaks against another request on the same connection. */
function isKept(headers: readonly ResponseHeader[]): boolean {
  return headers.every(([name, value]) => {
    if (name === "connection") return !/(?:^|[\s,])close(?:$|[\s,])/i.test(value);
    return name !== "keep-alive" || !NO_WAIT.test(value);
  });
}

/** Reads one header. A line that continues the one before it (RFC 7230 has abolished them) is none. */
export function readField(line: string, index: number): ResponseHeader {
  const which = `header ${index + 1}`;
  const colon = line.indexOf(":");
  if (colon === -1) throw new MalformedResponse(`has no ":" in ${which}`);
  const name = line.slice(0, colon);
  if (!isHeaderName(name)) throw new MalformedResponse(`has a malformed name of ${which}`);
  const value = line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, "");
  if (!isHeaderValue(value)) throw new MalformedResponse(`has a character in ${which} that no header can have`);
  return [name.toLowerCase(), value];
}

/** Returns how the body ends. Two statements about that are a way to smuggle answers, even if they agree. */
function bodyOf(
  status: number,
  headers: readonly ResponseHeader[],
  old: boolean,
  { method }: AskedRequest,
): Pick<ResponseHead, "framing" | "length"> {
  const lengths = headers.filter(([name]) => name === "content-length").map(([, value]) => value);
  const codings = headers.filter(([name]) => name === "transfer-encoding").map(([, value]) => value);
  if (lengths.length > 1) throw new MalformedResponse("has Content-Length twice");
  if (lengths.length > 0 && codings.length > 0) {
    throw new MalformedResponse("has both Content-Length and Transfer-Encoding");
  }
  const length = lengths[0] === undefined ? null : readLength(lengths[0]);
  if (codings.length > 1 || (codings[0] !== undefined && codings[0].toLowerCase() !== "chunked")) {
    throw new MalformedResponse("has a Transfer-Encoding other than chunked");
  }
  if (codings.length > 0 && old) throw new MalformedResponse("has Transfer-Encoding, which HTTP/1.0 does not know");
  // The bytes that follow belong to the other protocol.
  if (status === 101) return { framing: { kind: "until_close" }, length: null };
  if (method === "HEAD" || NO_BODY.has(status)) return { framing: { kind: "none" }, length };
  if (codings.length > 0) return { framing: { kind: "chunked" }, length };
  return { framing: length === null ? { kind: "until_close" } : { kind: "length", bytes: length }, length };
}

/** Fifteen digits are exact in a double. */
function readLength(value: string): number {
  if (!/^\d{1,15}$/.test(value)) throw new MalformedResponse("has a Content-Length that is no number");
  return Number(value);
}
