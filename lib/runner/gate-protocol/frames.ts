/** The frames of PROTOCOL.md as the server writes them, and as it gets them (`frame-decoder.ts`). */

/** The version that our gate says in READY. */
export const PROTOCOL_VERSION = 2;
/** The longest payload of a frame, either way. */
export const PAYLOAD_BYTES = 65_536;
/** Type and length, before every payload. */
export const HEADER_BYTES = 5;

/** What a file of the answer was when the function had ended, in the order of their numbers. */
export const RESPONSE_STATES = ["fine", "missing", "no_regular_file", "over_limit", "unreadable"] as const;
export type ResponseState = (typeof RESPONSE_STATES)[number];

/** What the gate could not do, in the order of their numbers, from 1. `exec` is a fault of the image's command. */
export const FAILED_STAGES = ["context", "request", "start", "exec", "frames", "secrets"] as const;
export type FailedStage = (typeof FAILED_STAGES)[number];

/** How a function ended, and what it took. */
export interface ExitFrame {
  readonly type: "exit";
  /** 0 where a signal ended it. */
  readonly exitCode: number;
  /** The number of the signal that ended it, or 0. */
  readonly signal: number;
  /** How many processes of the container the kernel killed for want of memory. */
  readonly oomKills: number;
  readonly userUs: number;
  readonly systemUs: number;
  readonly peakBytes: number;
  readonly wallUs: number;
  /** Output beyond the limit. */
  readonly logDroppedBytes: number;
  /** Of response.meta.json, which few functions write: `missing` is the rule. */
  readonly metaState: ResponseState;
  /** What the META frame that follows holds, if one does. */
  readonly metaBytes: number;
  /** Whether the function made a response.body, which takes the place of response.json. */
  readonly bodyFile: boolean;
  readonly responseState: ResponseState;
  /** What the RESPONSE frames that follow add up to. */
  readonly responseBytes: number;
}

/** A frame from the gate. */
export type GateFrame =
  | { readonly type: "ready"; readonly version: number }
  | { readonly type: "log"; readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }
  | { readonly type: "expired" }
  | ExitFrame
  | { readonly type: "meta"; readonly bytes: Uint8Array }
  | { readonly type: "response"; readonly bytes: Uint8Array }
  | { readonly type: "failed"; readonly stage: FailedStage; readonly errno: number };

/** What the gate is told of a call. */
export interface GateRequest {
  /** REQUEST_ID, and the name of the context's directory. */
  readonly id: string;
  /** The part of CONTEXT_PATH before the id; absolute. */
  readonly contextRoot: string;
  readonly timeoutMs: number;
  /** From SIGTERM at the deadline to SIGKILL. */
  readonly graceMs: number;
  /** The most that response.json or response.body may hold, in bytes. */
  readonly responseLimit: number;
  /** Output that is sent on, in bytes; more is dropped. */
  readonly logLimit: number;
  readonly bodyLength: number;
  /** Whether another request may follow this one. */
  readonly again: boolean;
  /** Whether the body is to be found as `request.body` too. */
  readonly bodyFile: boolean;
  /** ENV and FILE frames that follow. */
  readonly extraFrames: number;
}

/** What the function's process is given beside the body. */
export interface GateExtras {
  /** Variables, over those of the image and the container. */
  readonly environment: Readonly<Record<string, string>>;
  readonly files: readonly GateFile[];
}

/** Where the gate puts a file: beside request.json, or below `/run/secrets`. In the order of their numbers, from 1. */
export const FILE_PLACES = ["context", "secrets"] as const;

/** A file that the function finds when it starts; no two have the same name in one place. */
export interface GateFile {
  readonly place: (typeof FILE_PLACES)[number];
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The gate's stream is not what PROTOCOL.md allows: the call fails and the instance retires. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The REQUEST frame. A number that does not fit its field throws a RangeError: it is our own mistake. */
export function encodeRequest(request: GateRequest): Uint8Array {
  const { timeoutMs, graceMs, responseLimit, logLimit, bodyLength, extraFrames, again, bodyFile } = request;
  const numbers = Buffer.alloc(25);
  [timeoutMs, graceMs, responseLimit, logLimit, bodyLength, extraFrames].forEach((value, index) =>
    numbers.writeUInt32BE(value, 4 * index),
  );
  numbers.writeUInt8((again ? 1 : 0) | (bodyFile ? 2 : 0), 24);
  return frame(0x01, Buffer.concat([numbers, text(request.contextRoot), text(request.id)]));
}

/**
 * The ENV and FILE frames of a call; a file that is longer than a frame has several, one after the other. A variable that
 * does not fit a frame throws a RangeError: the kernel would not hand it to a process either.
 */
export function extraFrames({ environment, files }: GateExtras): Uint8Array[] {
  const variables = Object.entries(environment).map(([name, value]) => {
    const payload = Buffer.concat([text(name), Buffer.from(value)]);
    if (payload.length > PAYLOAD_BYTES) throw new RangeError(`The variable "${name}" is too long for a frame`);
    return frame(0x03, payload);
  });
  return [...variables, ...files.flatMap(fileFrames)];
}

function fileFrames({ place, name, bytes }: GateFile): Uint8Array[] {
  const head = Buffer.concat([Buffer.of(FILE_PLACES.indexOf(place) + 1), text(name)]);
  const room = PAYLOAD_BYTES - head.length;
  const frames: Uint8Array[] = [];
  // An empty file has a frame as well.
  for (let at = 0; at === 0 || at < bytes.length; at += room) {
    frames.push(frame(0x04, Buffer.concat([head, bytes.subarray(at, at + room)])));
  }
  return frames;
}

/** The BODY frames of a request body, made one at a time as they are asked for; an empty body has none. */
export function* bodyFrames(body: Uint8Array): Generator<Uint8Array, void, void> {
  for (let at = 0; at < body.length; at += PAYLOAD_BYTES) {
    yield frame(0x02, body.subarray(at, at + PAYLOAD_BYTES));
  }
}

/** Header and payload in one buffer: the copy is cheaper than a write of five bytes for each header. */
function frame(type: number, payload: Uint8Array): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(payload.length, 1);
  return Buffer.concat([header, payload]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}
