import type { Clock } from "../../clock.ts";
import { GatheredPieces } from "../../domain/calls/collected-bytes.ts";
import { AppError } from "../../domain/errors.ts";
import { decodeText, NotJson, parseJsonText } from "../../domain/json-text.ts";
import { LEAST_BYTES_PER_S } from "../../domain/limits.ts";
import { quoted } from "../../domain/quoted.ts";
import { BodyPace, tooLate } from "./body-pace.ts";
import type { Watching } from "./idle-timeouts.ts";

/** The deepest nesting of a JSON body. Ours have three levels; anything deeper than this is an attack. */
const JSON_DEPTH = 64;
/** The most values in a JSON body. Ours have fewer than a thousand, and checking a million takes seconds. */
const JSON_VALUES = 20_000;

/** Reads the body of a request, of at most so many bytes. */
export type ReadBody = (request: Request, limitBytes: number) => Promise<Uint8Array>;

interface BodyReaderDeps {
  readonly clock: Clock;
  readonly unwatch: Watching["unwatch"];
  /** The longest time without a byte, in milliseconds. Once it is over, `LEAST_BYTES_PER_S` must have come on average. */
  readonly stall_ms: number;
}

/**
 * Makes the reader of bodies. It throws `payload_too_large` as soon as a body is known to be over the limit, with or
 * without a length, `request_timeout` if the body stops arriving or is too slow, and `cancelled` if the client goes away.
 * It first lifts the idle timeout of the connection: Bun would close one that is slower than 16 KB/s, without an answer.
 */
export function createBodyReader({ clock, unwatch, stall_ms }: BodyReaderDeps): ReadBody {
  // The rate alone demands that a body of this size is complete after `stall_ms`.
  const smallBytes = (stall_ms / 1_000) * LEAST_BYTES_PER_S;
  return async (request, limitBytes) => {
    unwatch(request);
    const announced = request.headers.get("content-length");
    if (Number(announced ?? 0) > limitBytes) throw tooLarge(limitBytes);
    // To ask for `body` makes a stream, a sixth of a small request.
    if (announced !== null && Number(announced) <= smallBytes) return whole(request, clock, stall_ms);
    if (request.body === null) return new Uint8Array();
    return collect(request.body, limitBytes, new BodyPace(clock, stall_ms));
  };
}

/** Refuses an encoded body (`unsupported_encoding`). For bodies that we read ourselves: a function gets its body as it was sent. */
export function refuseEncoding({ headers }: Request): void {
  const encoding = headers.get("content-encoding");
  if (encoding === null || /^(?:identity)?$/i.test(encoding)) return;
  const message = `Content-Encoding ${quoted(encoding, 40)} is not supported here: send the body without one`;
  throw new AppError("unsupported_encoding", message);
}

/** Reads a body whose length is known, which Bun enforces. Read as a stream it would take 7 us more, twice as long. */
async function whole(request: Request, clock: Clock, withinMs: number): Promise<Uint8Array> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const cancelTimer = clock.after(withinMs, () => reject(tooLate(withinMs)));
  try {
    return new Uint8Array(await Promise.race([request.arrayBuffer(), late]));
  } catch (error) {
    throw error instanceof AppError ? error : gone(error);
  } finally {
    cancelTimer();
  }
}

async function collect(body: ReadableStream<Uint8Array>, limitBytes: number, pace: BodyPace): Promise<Uint8Array> {
  const reader = body.getReader();
  const pieces = new GatheredPieces();
  const giveUp = () => void reader.cancel().catch(() => undefined);
  pace.start(giveUp);
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pace.arrived(piece.value.length);
      if (pace.bytes > limitBytes) {
        giveUp();
        throw tooLarge(limitBytes);
      }
      pieces.add(piece.value);
    }
  } catch (error) {
    throw error instanceof AppError ? error : gone(error);
  } finally {
    pace.stop();
  }
  if (pace.problem !== undefined) throw pace.problem;
  const taken = pieces.take();
  return taken.length === 1 && taken[0] ? taken[0] : Buffer.concat(taken);
}

export function gone(cause: unknown): AppError {
  return new AppError("cancelled", "The client went away before its whole body had arrived", { cause });
}

export function tooLarge(limitBytes: number): AppError {
  return new AppError(
    "payload_too_large",
    `The request body is over the limit of ${limitBytes} bytes: send a smaller one`,
  );
}

/** Parses a body as JSON whatever its content type says: `curl -d` sends it as a form. No body is undefined. */
export function parseJson(bytes: Uint8Array, mostValues = JSON_VALUES): unknown {
  if (bytes.length === 0) return undefined;
  try {
    const text = decodeText(bytes);
    const { depth, values } = sizeOf(text);
    if (depth > JSON_DEPTH) throw new NotJson(`it is nested deeper than ${JSON_DEPTH} levels`);
    if (values > mostValues) throw new NotJson(`it has more than ${mostValues} values`);
    return withConversion(parseJsonText(text));
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    throw new AppError("invalid_request", `The request body is not JSON: ${error.message}`);
  }
}

/** Methods that turn an object into text. In JSON they are plain fields and cannot be called. */
const CONVERSIONS = ["toString", "valueOf"] as const;

/**
 * Adds a conversion to text under a symbol, which takes precedence over such fields and is invisible otherwise. Elysia
 * converts a value that it refuses to text, which would throw.
 */
function withConversion(parsed: unknown): unknown {
  const open = [parsed];
  while (open.length > 0) {
    const value = open.pop();
    if (value === null || typeof value !== "object") continue;
    if (CONVERSIONS.some((name) => Object.hasOwn(value, name))) {
      Object.defineProperty(value, Symbol.toPrimitive, { value: () => "an object" });
    }
    for (const inner of Object.values(value)) open.push(inner);
  }
  return parsed;
}

/** Counts how deep brackets nest and how many values commas separate, outside of strings. */
function sizeOf(text: string): { readonly depth: number; readonly values: number } {
  let depth = 0;
  let deepest = 0;
  let values = 1;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (quoted) {
      if (char === 0x5c) i++;
      else if (char === 0x22) quoted = false;
    } else if (char === 0x22) quoted = true;
    else if (char === 0x7b || char === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (char === 0x7d || char === 0x5d) depth--;
    else if (char === 0x2c) values++;
  }
  return { depth: deepest, values };
}
