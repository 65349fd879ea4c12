/** The frames of PROTOCOL.md: the server's own as bytes, and the gate's as `frame-decoder.ts` reads them. */

/** The version in our gate's READY. */
export const PROTOCOL_VERSION = 10;
/** The longest payload of a frame, in both directions. */
export const PAYLOAD_BYTES = 65_536;
/** The length of type and length, which precede every payload. */
export const HEADER_BYTES = 5;
/** The bytes of a body for a function's stdin that may be sent before the gate gives credit for more. */
export const CREDIT_BYTES = 256 * 1024;
/** The stream of DATA and CREDIT that is the function itself: its stdin and stdout. */
export const FUNCTION_STREAM = 0;

/** The states of a file of the answer when the function had ended, in the order of their numbers. */
export const RESPONSE_STATES = ["fine", "missing", "no_regular_file", "over_limit", "unreadable"] as const;
export type ResponseState = (typeof RESPONSE_STATES)[number];

/** The steps at which a gate can fail, in the order of their numbers, from 1. `exec` is a fault of the image's command. */
export const FAILED_STAGES = ["context", "request", "start", "exec", "frames", "secrets"] as const;
export type FailedStage = (typeof FAILED_STAGES)[number];

/** The end of a function, and the resources that it used. */
export interface ExitFrame {
  readonly type: "exit";
  /** 0 if a signal ended it. */
  readonly exitCode: number;
  /** The number of the signal that ended it, or 0. */
  readonly signal: number;
  /** The number of processes of the container that the kernel killed because memory ran out. */
  readonly oomKills: number;
  readonly userUs: number;
  readonly systemUs: number;
  readonly peakBytes: number;
  readonly wallUs: number;
  /** Output beyond the limit, in bytes; the last of it came in TAIL frames. */
  readonly logDroppedBytes: number;
  /** The state of response.meta.json; usually `missing`, as few functions write it. */
  readonly metaState: ResponseState;
  /** The length of the META frame that follows, or 0 if none does. */
  readonly metaBytes: number;
  /** True if the function wrote response.body, which replaces response.json, or if its output is the response. */
  readonly bodyFile: boolean;
  readonly responseState: ResponseState;
  /** The total length of the RESPONSE frames that follow. */
  readonly responseBytes: number;
}

/** The surroundings in which a gate runs functions: processes of its container, or cells, unless it cannot make any. In the order of their numbers. */
export const SURROUNDINGS = ["processes", "cells", "no_cells"] as const;
export type Surroundings = (typeof SURROUNDINGS)[number];

/** A gate that is up, and the user that its functions run as. Only the version is known of a gate of another one. */
export interface ReadyFrame {
  readonly type: "ready";
  readonly version: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly surroundings?: Surroundings;
  /** The reason why there are no cells, in words; empty if there are. */
  readonly why?: string;
}

/** A frame from the gate. */
export type GateFrame =
  | ReadyFrame
  | { readonly type: "log"; readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }
  | { readonly type: "tail"; readonly stream: "stdout" | "stderr"; readonly age_ms: number; readonly bytes: Uint8Array }
  | { readonly type: "expired" }
  | ExitFrame
  | { readonly type: "meta"; readonly bytes: Uint8Array }
  | { readonly type: "response"; readonly bytes: Uint8Array }
  | { readonly type: "data"; readonly stream: number; readonly bytes: Uint8Array }
  | { readonly type: "credit"; readonly stream: number; readonly more: number }
  | { readonly type: "failed"; readonly stage: FailedStage; readonly errno: number }
  | NotListeningFrame
  | BootedFrame
  | { readonly type: "accept"; readonly stream: number }
  | UsedFrame
  | ExtensionsFrame
  | ExtensionEndFrame
  | CloseFrame;

/** An address at which something listens. */
export interface Listener {
  /** `127.0.0.1`, `0.0.0.0`, `::1`, `::`, ... */
  readonly address: string;
  readonly port: number;
}

/** An app whose ports all listen. */
interface BootedFrame extends Listener {
  readonly type: "booted";
  /** From the start of the command until then. */
  readonly bootUs: number;
  /** The most streams that the gate has memory for at once, 1 to 64. */
  readonly streams: number;
}

/** The most extensions of an app, as on AWS. */
export const EXTENSIONS_MOST = 10;

/** The sources of the number in USED, in the order of their numbers, from 1. */
export const MEMORY_SOURCES = ["cgroup", "processes"] as const;

/** The most memory that an instance has taken until the end of a call, in bytes. */
export interface UsedFrame {
  readonly type: "used";
  readonly peakBytes: number;
  readonly source: (typeof MEMORY_SOURCES)[number];
}

/** The programs that are started before an app that asks for its calls, which waits for START. */
export interface ExtensionsFrame {
  readonly type: "extensions";
  /** The number of programs that there are. If it is more than EXTENSIONS_MOST, none is started and no name is here. */
  readonly count: number;
  /** The names of their files, in their order; each character is one byte (ISO 8859-1). */
  readonly names: readonly string[];
}

/** The end of an extension. */
export interface ExtensionEndFrame {
  readonly type: "extension_end";
  /** Its place among the names. */
  readonly index: number;
  /** 0 if a signal ended it. */
  readonly exitCode: number;
  /** The number of the signal that ended it, or 0. */
  readonly signal: number;
  /** The number of the system's error if it could not be started, or 0. */
  readonly errno: number;
}

/** FAILED of stage 7: an app whose ports did not all listen in time. It was killed. */
interface NotListeningFrame {
  readonly type: "not_listening";
  /** All that does listen, the first 64 of them. */
  readonly listeners: readonly Listener[];
}

/** The endings of a stream in CLOSE, in the order of their numbers, from 1. After `end`, one of the others follows. */
export const STREAM_ENDINGS = ["end", "reset", "unconnected"] as const;
export type StreamEnding = (typeof STREAM_ENDINGS)[number];

/** One side's end of a stream, or the end of both. */
interface CloseFrame {
  readonly type: "close";
  readonly stream: number;
  readonly ending: StreamEnding;
  /** Of the ending `end`: the bytes of the server's that the connection had been given by then, modulo 2^32. */
  readonly errno: number;
}

/** The REQUEST frame of a call. */
export interface GateRequest {
  /** Both REQUEST_ID and the name of the context's directory. */
  readonly id: string;
  /** The part of CONTEXT_PATH before the id; absolute. */
  readonly contextRoot: string;
  readonly timeoutMs: number;
  /** The time from SIGTERM at the deadline to SIGKILL. */
  readonly graceMs: number;
  /** The most time that may have passed in the gate since its READY, in milliseconds; without it, any. */
  readonly withinMs?: number;
  /** The most that response.json, response.body or the output of the contract `stdio` may hold, in bytes; Infinity for no limit of the output. */
  readonly responseLimit: number;
  /** The most output that is passed on while the function runs, in bytes; `tailLimit` of what comes after it follows. */
  readonly logLimit: number;
  readonly bodyLength: number;
  /** True if the length of the body is not known, and an empty BODY frame ends it; `bodyLength` is 0 then. */
  readonly openBody?: boolean;
  /** True if another request may follow this one. */
  readonly again: boolean;
  /** True if the function also finds the body as `request.body`. */
  readonly bodyFile: boolean;
  /** The number of ENV and FILE frames that follow. */
  readonly extraFrames: number;
}

/** Variables and files for the function's process, besides the body. */
export interface GateExtras {
  /** Variables, over those of the image and the container. */
  readonly environment: Readonly<Record<string, string>>;
  /** The same for names that nothing else has set; each character is one byte (ISO 8859-1). */
  readonly defaults?: Readonly<Record<string, string>>;
  readonly files: readonly GateFile[];
}

/** The extras of a call that has no variables and files of its own. */
export const NO_EXTRAS: GateExtras = { environment: {}, files: [] };

/**
 * The places of files: next to request.json, below `/run/secrets`, or below `/var/openfaas/secrets`. In the order of their numbers,
 * from 1.
 */
export const FILE_PLACES = ["context", "secrets", "watchdog_secrets"] as const;

/** A file that the function finds when it starts; no two have the same name in one place. */
export interface GateFile {
  readonly place: (typeof FILE_PLACES)[number];
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The limit of a response that has none. */
const NO_LIMIT = 0xffffffff;

/** The most that a gate keeps of the output beyond the limit. */
const TAIL_BYTES = 2 * 1024 * 1024;

/** Returns how many bytes of the output beyond a limit come in TAIL frames, at most. */
export function tailLimit(logLimit: number): number {
  return Math.min(Math.floor(logLimit / 2), TAIL_BYTES);
}

/** Thrown if a gate's stream violates PROTOCOL.md: the call fails and the instance retires. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** Returns the REQUEST frame. A number that does not fit its field throws a RangeError: that is a bug of ours. */
export function encodeRequest(request: GateRequest): Uint8Array {
  const { timeoutMs, graceMs, logLimit, bodyLength, extraFrames, again, bodyFile, openBody } = request;
  const responseLimit = request.responseLimit === Infinity ? NO_LIMIT : request.responseLimit;
  const numbers = Buffer.alloc(29);
  [timeoutMs, graceMs, responseLimit, logLimit, bodyLength, extraFrames].forEach((value, index) =>
    numbers.writeUInt32BE(value, 4 * index),
  );
  numbers.writeUInt8((again ? 1 : 0) | (bodyFile ? 2 : 0) | (openBody === true ? 4 : 0), 24);
  numbers.writeUInt32BE(request.withinMs ?? 0, 25);
  return frame(0x01, Buffer.concat([numbers, text(request.contextRoot), text(request.id)]));
}

/**
 * Returns the ENV, ENV_DEFAULT and FILE frames of a call. A file that is longer than a frame has several in a row. A variable that does
 * not fit into a frame throws a RangeError: the kernel would not pass it to a process either.
 */
export function extraFrames({ environment, defaults = {}, files }: GateExtras): Uint8Array[] {
  const variables = Object.entries(environment).map(([name, value]) => variableFrame(0x03, name, value, "utf8"));
  const others = Object.entries(defaults).map(([name, value]) => variableFrame(0x0b, name, value, "latin1"));
  return [...variables, ...others, ...files.flatMap(fileFrames)];
}

/** Writes into one buffer: a call by CGI's rules has more than twenty of these. */
function variableFrame(type: number, name: string, value: string, coding: "utf8" | "latin1"): Uint8Array {
  const nameBytes = Buffer.byteLength(name);
  const payloadBytes = 2 + nameBytes + Buffer.byteLength(value, coding);
  if (payloadBytes > PAYLOAD_BYTES) throw new RangeError(`The variable "${name}" is too long for a frame`);
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payloadBytes);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt32BE(payloadBytes, 1);
  bytes.writeUInt16BE(nameBytes, HEADER_BYTES);
  bytes.write(name, HEADER_BYTES + 2);
  bytes.write(value, HEADER_BYTES + 2 + nameBytes, coding);
  return bytes;
}

function fileFrames({ place, name, bytes }: GateFile): Uint8Array[] {
  const head = Buffer.concat([Buffer.of(FILE_PLACES.indexOf(place) + 1), text(name)]);
  const room = PAYLOAD_BYTES - head.length;
  const frames: Uint8Array[] = [];
  // An empty file also has a frame.
  for (let at = 0; at === 0 || at < bytes.length; at += room) {
    frames.push(frame(0x04, Buffer.concat([head, bytes.subarray(at, at + room)])));
  }
  return frames;
}

/** Yields the BODY frames of a request body, each made when it is taken. An empty body has none. */
export function* bodyFrames(body: Uint8Array): Generator<Uint8Array, void, void> {
  for (let at = 0; at < body.length; at += PAYLOAD_BYTES) {
    yield frame(0x02, body.subarray(at, at + PAYLOAD_BYTES));
  }
}

/** The BODY frame that ends a body for a function's stdin: before its length, or because it has none. */
export const EMPTY_BODY = frame(0x02, new Uint8Array(0));

/** Puts header and payload into one buffer: the copy is cheaper than a write of five bytes for each header. */
export function frame(type: number, ...payload: readonly Uint8Array[]): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(
    payload.reduce((length, piece) => length + piece.length, 0),
    1,
  );
  return Buffer.concat([header, ...payload]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}
