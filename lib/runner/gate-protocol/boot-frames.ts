/** The server's frames to a gate that boots its command, as PROTOCOL.md has them. */
import { frame, HEADER_BYTES, PAYLOAD_BYTES } from "./frames.ts";

/** The bytes of one stream that the app may send before the server gives credit for more. */
export const CREDIT_FROM_APP = 512 * 1024;
/** The bytes of one stream that the server may send before the gate gives credit for more. */
export const CREDIT_TO_APP = 64 * 1024;
/** The most streams that a gate has open at once; one with little memory has fewer. */
export const STREAMS_MOST = 64;
/** The most ports that must listen. */
const PORTS_MOST = 16;

/** The BOOT of an instance. */
export interface BootRequest {
  /** True if the app stands still while no stream is open. */
  readonly freeze: boolean;
  /** The time from BOOT until all ports listen. */
  readonly bootTimeoutMs: number;
  /** The most output that is passed on, in bytes; each stream that is opened allows as much again. */
  readonly logLimit: number;
  /** The ports that must listen, 1 to 16; streams go to the first. */
  readonly ports: readonly number[];
  /**
   * True if it is the app that connects, to ask for its calls: the gate listens at the port, the only one, and the instance is
   * booted as soon as its command runs.
   */
  readonly serve?: boolean;
}

/** Returns the BOOT frame. A number that does not fit its field throws a RangeError: that is a bug of ours. */
export function bootFrame(
  { freeze, serve, bootTimeoutMs, logLimit, ports }: BootRequest,
  extraFrames: number,
): Uint8Array {
  if (ports.length < 1 || ports.length > PORTS_MOST) throw new RangeError(`An instance has 1 to ${PORTS_MOST} ports`);
  const payload = Buffer.alloc(14 + 2 * ports.length);
  payload.writeUInt8((freeze ? 1 : 0) | (serve === true ? 2 : 0), 0);
  payload.writeUInt32BE(bootTimeoutMs, 1);
  payload.writeUInt32BE(logLimit, 5);
  payload.writeUInt32BE(extraFrames, 9);
  payload.writeUInt8(ports.length, 13);
  ports.forEach((port, index) => payload.writeUInt16BE(port, 14 + 2 * index));
  return frame(0x05, payload);
}

/** The limits of a call that another server may make again: this one may be stopped at any moment. */
export interface CallLimits {
  /** The most time from READY until the gate has this frame, in milliseconds: it refuses a later one. */
  readonly withinMs: number;
  /** The most time from then on that the instance may be at the call, in milliseconds: the gate kills it then. */
  readonly mostMs: number;
}

export function openFrame(stream: number, limits?: CallLimits): Uint8Array {
  return frame(0x06, numbers(stream, limits?.withinMs ?? 0, limits?.mostMs ?? 0));
}

/** The number of a stream in front of the bytes of DATA. */
const NUMBER_BYTES = 4;

/** Returns the DATA frames that carry these bytes, one behind the other, in a buffer of their own. */
export function dataFrames(stream: number, bytes: Uint8Array): Uint8Array {
  const room = PAYLOAD_BYTES - NUMBER_BYTES;
  const frames = Math.ceil(bytes.length / room);
  // Filled below, and not of Bun's pool: it is freed once it is written.
  const all = Buffer.allocUnsafeSlow(bytes.length + frames * (HEADER_BYTES + NUMBER_BYTES));
  for (let at = 0, to = 0; at < bytes.length; at += room) {
    const piece = bytes.subarray(at, at + room);
    all.writeUInt8(0x07, to);
    all.writeUInt32BE(NUMBER_BYTES + piece.length, to + 1);
    all.writeUInt32BE(stream, to + HEADER_BYTES);
    all.set(piece, to + HEADER_BYTES + NUMBER_BYTES);
    to += HEADER_BYTES + NUMBER_BYTES + piece.length;
  }
  return all;
}

export function creditFrame(stream: number, more: number): Uint8Array {
  return frame(0x08, numbers(stream, more));
}

/**
 * The server closes streams in both directions only, and has no error to report. With `keptAfter`, the number of bytes that have come
 * from the app, the gate may use the connection for another stream if it has sent no more of it.
 */
export function closeFrame(stream: number, keptAfter?: number): Uint8Array {
  return closing(stream, keptAfter === undefined ? 2 : 4, keptAfter);
}

/** Closes a stream in both directions though the app may still be at its call: the limit of that stays. */
export function abandonFrame(stream: number): Uint8Array {
  return closing(stream, 5);
}

function closing(stream: number, how: number, keptAfter?: number): Uint8Array {
  const payload = Buffer.alloc(9);
  payload.writeUInt32BE(stream, 0);
  payload.writeUInt8(how, 4);
  payload.writeUInt32BE((keptAfter ?? 0) % 2 ** 32, 5);
  return frame(0x09, payload);
}

/** Says that a call begins of an app that connects to ask for them. */
export function callFrame(limits?: CallLimits): Uint8Array {
  return frame(0x0c, Buffer.of(1), numbers(limits?.withinMs ?? 0, limits?.mostMs ?? 0));
}

/** Says that the call of such an app, or its start, has ended. */
export function callEndFrame(): Uint8Array {
  return frame(0x0c, Buffer.of(0));
}

/** Lets the command of an app with extensions begin. */
export function startFrame(): Uint8Array {
  return frame(0x0d, new Uint8Array(0));
}

/** Extensions that get time for their own end when their app ends. */
export interface Parting {
  /** Their places among the names. */
  readonly extensions: readonly number[];
  /** The time that they have from SIGTERM of the app on, which is at least that of the app. */
  readonly afterMs: number;
}

export function finishFrame(afterMs: number, parting?: Parting): Uint8Array {
  if (parting === undefined) return frame(0x0a, numbers(afterMs));
  const which = Buffer.alloc(2);
  which.writeUInt16BE(parting.extensions.reduce((bits, index) => bits | (1 << index), 0));
  return frame(0x0a, numbers(afterMs, parting.afterMs), which);
}

function numbers(...values: readonly number[]): Buffer {
  const payload = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => payload.writeUInt32BE(value, 4 * index));
  return payload;
}
