import { RESPONSE_HEADERS } from "../../domain/limits.ts";
import { BodyReader } from "./body-reader.ts";
import { MalformedResponse } from "./malformed-response.ts";
import { type Framing, readField } from "./response-head.ts";

/** The head of a request that a function makes. */
export interface ArrivedHead {
  readonly method: string;
  /** Path and query as they were sent. */
  readonly target: string;
  /** By name in lower case; of a name that comes more than once, the first value. */
  readonly headers: ReadonlyMap<string, string>;
  readonly framing: Framing;
  /** True if the connection may carry another request behind this one. */
  readonly keep_alive: boolean;
}

/** A part of a connection's requests, in the order in which they come: for each one head, pieces of its body, one end. */
export type RequestPart =
  | { readonly type: "head"; readonly head: ArrivedHead }
  | { readonly type: "body"; readonly bytes: Uint8Array }
  | { readonly type: "end"; readonly trailers: ReadonlyMap<string, string> };

/** The most bytes of a request's head, its lines that have not ended included: some runtimes put a stack trace into one. */
const HEAD_BYTES = 256 * 1024;
const LF = 0x0a;
const CR = 0x0d;
const REQUEST_LINE = /^([A-Za-z]{1,32}) ([\u0021-\u007e]{1,8192}) HTTP\/1\.([01])$/;

/**
 * Reads the requests of one connection, one behind the other. Strict by RFC 9112, but for lines that end with LF alone, which its
 * 2.2 allows. After an error it must not be used.
 */
export class RequestReader {
  #line: Uint8Array[] = [];
  #lines: string[] = [];
  #bytes = 0;
  #body: BodyReader | undefined;

  /** Takes more bytes, and yields the parts that they complete. Throws MalformedResponse. */
  *push(bytes: Uint8Array): Generator<RequestPart, undefined, undefined> {
    for (let at = 0; at < bytes.length;) {
      if (this.#body === undefined) {
        const { head, taken } = this.#pushHead(bytes.subarray(at));
        at += taken;
        if (head === undefined) continue;
        this.#body = new BodyReader(head.framing);
        yield { type: "head", head };
      } else {
        at += yield* this.#pushBody(this.#body, bytes.subarray(at));
      }
      if (this.#body?.done) {
        const trailers = fieldsOf(this.#body.trailers);
        this.#body = undefined;
        yield { type: "end", trailers };
      }
    }
    return undefined;
  }

  *#pushBody(body: BodyReader, bytes: Uint8Array): Generator<RequestPart, number, undefined> {
    const pieces = body.push(bytes);
    for (;;) {
      const { done, value } = pieces.next();
      if (done === true) return value;
      yield { type: "body", bytes: value };
    }
  }

  /** Takes bytes up to the end of a line. */
  #pushHead(bytes: Uint8Array): { readonly head: ArrivedHead | undefined; readonly taken: number } {
    const at = bytes.indexOf(LF);
    const taken = at === -1 ? bytes.length : at + 1;
    this.#bytes += taken;
    if (this.#bytes > HEAD_BYTES || this.#lines.length > RESPONSE_HEADERS)
      throw new MalformedResponse("has too long a head");
    this.#line.push(bytes.slice(0, taken));
    if (at === -1) return { head: undefined, taken };
    const line = Buffer.concat(this.#line);
    this.#line = [];
    const text = line.toString("latin1", 0, line.length - (line[line.length - 2] === CR ? 2 : 1));
    // Clients of old send an empty line behind a body.
    if (text === "" && this.#lines.length === 0) this.#bytes = 0;
    else if (text !== "") this.#lines.push(text);
    else return { head: this.#takeHead(), taken };
    return { head: undefined, taken };
  }

  #takeHead(): ArrivedHead {
    const [first = "", ...fields] = this.#lines;
    this.#lines = [];
    this.#bytes = 0;
    const [, method, target, minor] = REQUEST_LINE.exec(first) ?? [];
    if (method === undefined || target === undefined)
      throw new MalformedResponse("does not begin with a request line of HTTP/1.1");
    const headers = fieldsOf(fields);
    const framing = framingOf(fields, headers, minor === "1");
    const connection = headers.get("connection")?.toLowerCase() ?? "";
    const keep_alive = minor === "1" ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection);
    return { method, target, headers, framing, keep_alive };
  }
}

function fieldsOf(lines: readonly string[]): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [index, line] of lines.entries()) {
    const [name, value] = readField(line, index);
    if (!fields.has(name)) fields.set(name, value);
  }
  return fields;
}

/** Returns how the body ends. Two statements about that contradict each other even if they agree. */
function framingOf(lines: readonly string[], headers: ReadonlyMap<string, string>, isCurrent: boolean): Framing {
  const length = headers.get("content-length");
  const coding = headers.get("transfer-encoding");
  const said = lines.filter((line) => /^(?:content-length|transfer-encoding):/i.test(line)).length;
  if (said > 1) throw new MalformedResponse("says twice how its body ends");
  if (coding !== undefined) {
    if (coding.toLowerCase() !== "chunked" || !isCurrent)
      throw new MalformedResponse("has a Transfer-Encoding other than chunked");
    return { kind: "chunked" };
  }
  if (length === undefined) return { kind: "none" };
  if (!/^\d{1,15}$/.test(length)) throw new MalformedResponse("has a Content-Length that is no number");
  return { kind: "length", bytes: Number(length) };
}
