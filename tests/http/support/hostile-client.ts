import { connect } from "node:net";
import fc from "fast-check";
import { exchange, parseReply, type RawReply } from "./raw-request.ts";

/**
 * The ways in which a client sends a request: at once, in pieces, chunked in pieces, closing its side after it, or leaving in
 * the middle of it.
 */
export type Manner = "at once" | "in pieces" | "chunked" | "half-closed" | "cut" | "cut half-closed";

export const manner = fc.constantFrom<Manner>(
  "at once",
  "in pieces",
  "chunked",
  "half-closed",
  "cut",
  "cut half-closed",
);

const headerName = fc.oneof(
  fc.constantFrom("__proto__", "constructor", "toString", "X-Request-Id", "X-Forwarded-For", "Forwarded", "Via"),
  fc.constantFrom(
    "Prefer",
    "Idempotency-Key",
    "If-None-Match",
    "Range",
    "TE",
    "Upgrade",
    "Keep-Alive",
    "Server-Timing",
  ),
  fc.constantFrom("X-HTTP-Method-Override", "X-Api-Key", "X-Function-Exit-Code", "Origin", "Cookie", "Accept-Encoding"),
  fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}$/).map((name) => `x${name}`),
);

const headerValue = fc.oneof(
  fc.constantFrom("", "0", "-1", "null", "respond-async", "respond-async, wait=0", "*", "bytes=0-", "127.0.0.1", "h2c"),
  fc.string({ maxLength: 40, unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
  fc.string({ maxLength: 40, unit: fc.integer({ min: 0x80, max: 0xff }).map((code) => String.fromCharCode(code)) }),
  fc.integer({ min: 1, max: 4_000 }).map((length) => "x".repeat(length)),
);

/** Header lines that HTTP allows and nobody sends; a name may come twice. */
export const hostileHeaders = fc.oneof(
  { weight: 8, arbitrary: fc.array(fc.tuple(headerName, headerValue), { maxLength: 5 }) },
  { weight: 1, arbitrary: fc.array(fc.tuple(headerName, fc.constant("1")), { minLength: 60, maxLength: 120 }) },
);

interface HostileRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

/** Sends a request in this manner. Returns nothing if the client did not wait for an answer, or Bun gave it none. */
export async function sendHostile(
  url: string,
  { method, target, headers, body }: HostileRequest,
  how: Manner,
): Promise<RawReply | undefined> {
  const length = how === "chunked" ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`;
  const lines = headers.map(([name, value]) => `${name}: ${value}`);
  const head = [`${method} ${target} HTTP/1.1`, ...lines, length, "Connection: close", "", ""].join("\r\n");
  const sent = how === "chunked" ? chunked(body) : body;
  const whole = Buffer.concat([Buffer.from(head, "latin1"), sent]);
  if (how === "at once") return parseReply(await exchange(url, whole));
  const middle = whole.length - Math.ceil(sent.length / 2);
  const isCut = how === "cut" || how === "cut half-closed";
  const pieces = isCut ? [whole.subarray(0, middle)] : [whole.subarray(0, middle), whole.subarray(middle)];
  const reply = parseReply(await inPieces(url, pieces, how));
  return reply.status === 0 ? undefined : reply;
}

/** Sends each piece when the one before is out, and ends as the manner says. Returns what came until the end. */
async function inPieces(url: string, pieces: readonly Uint8Array[], how: Manner): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port), allowHalfOpen: true });
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => void chunks.push(chunk));
  for (const end of ["end", "close", "error"]) socket.on(end, () => resolve());
  for (const piece of pieces) {
    const out = Promise.withResolvers<void>();
    socket.write(piece, () => out.resolve());
    // The server may refuse a body before it has all of it.
    await Promise.race([out.promise, promise]);
  }
  if (how === "cut") socket.destroy();
  if (how === "half-closed" || how === "cut half-closed") socket.end();
  await promise;
  socket.destroy();
  return Buffer.concat(chunks).toString();
}

function chunked(body: Uint8Array): Uint8Array {
  const last = Buffer.from("0\r\n\r\n");
  if (body.length === 0) return last;
  return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n"), last]);
}
