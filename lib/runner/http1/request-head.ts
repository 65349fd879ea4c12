import { isHeaderName, isHeaderValue } from "../../domain/calls/headers.ts";

/** The head of a request. Names and values of headers are written as they are, each character as one byte. */
export interface RequestHead {
  readonly method: string;
  /** Path and query, in visible ASCII. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

const METHOD = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const TARGET = /^[\u0021-\u007e]+$/;

/** Returns the bytes of a request's head. Throws a RangeError for anything that would end a line or a word early. */
export function encodeRequestHead({ method, target, headers }: RequestHead): Uint8Array {
  if (!METHOD.test(method)) throw new RangeError("The method of the request is malformed");
  if (!TARGET.test(target)) throw new RangeError("The path of the request is malformed");
  let head = `${method} ${target} HTTP/1.1\r\n`;
  for (const [name, value] of headers) {
    if (!isHeaderName(name)) throw new RangeError("The name of a header is malformed");
    if (!isHeaderValue(value)) throw new RangeError(`The value of the header "${name}" is malformed`);
    head += `${name}: ${value}\r\n`;
  }
  return Buffer.from(`${head}\r\n`, "latin1");
}

/** Returns a piece of a body of unknown length as a chunk (RFC 9112, 7.1). It must not be empty: that would end the body. */
export function encodeChunk(piece: Uint8Array): Uint8Array {
  if (piece.length === 0) throw new RangeError("An empty chunk ends the body");
  return Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, CRLF]);
}

const CRLF = Buffer.from("\r\n");

/** The end of a body in chunks. */
export const LAST_CHUNK: Uint8Array = Buffer.from("0\r\n\r\n");
