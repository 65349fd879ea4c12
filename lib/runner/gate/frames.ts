/** The frames of PROTOCOL.md as the server writes them, and as it gets them (`frame-decoder.ts`). */

/** The version that our gate says in READY. */
export const PROTOCOL_VERSION = 1;
/** The longest payload of a frame, either way. */
export const PAYLOAD_BYTES = 65_536;
/** Type and length, before every payload. */
export const HEADER_BYTES = 5;

/** What response.json was when the function had ended, in the order of their numbers. */
export const RESPONSE_STATES = ["fine", "missing", "no_regular_file", "over_limit", "unreadable"] as const;
export type ResponseState = (typeof RESPONSE_STATES)[number];

/** What the gate could not do, in the order of their numbers, from 1. `exec` is a fault of the image's command. */
export const FAILED_STAGES = ["context", "request", "start", "exec", "frames"] as const;
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
  /** The most that response.json may hold, in bytes. */
  readonly responseLimit: number;
  /** Output that is sent on, in bytes; more is dropped. */
  readonly logLimit: number;
  readonly bodyLength: number;
  /** Whether another request may follow this one. */
  readonly again: boolean;
}

/** The gate's stream is not what PROTOCOL.md allows: the call fails and the instance retires. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The REQUEST frame. A number that does not fit its field throws a RangeError: it is our own mistake. */
export function encodeRequest(request: GateRequest): Uint8Array {
  const { timeoutMs, graceMs, responseLimit, logLimit, bodyLength, again } = request;
  const numbers = Buffer.alloc(21);
  [timeoutMs, graceMs, responseLimit, logLimit, bodyLength].forEach((value, index) =>
    numbers.writeUInt32BE(value, 4 * index),
  );
  numbers.writeUInt8(again ? 1 : 0, 20);
  return frame(0x01, Buffer.concat([numbers, text(request.contextRoot), text(request.id)]));
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
