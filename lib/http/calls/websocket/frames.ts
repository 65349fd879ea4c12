import { CollectedBytes } from "../../../domain/calls/collected-bytes.ts";

/** The largest message, in bytes: Bun's own limit for what clients send. */
export const MESSAGE_BYTES = 16 * 1024 * 1024;

/** The code of a close frame that has none (RFC 6455, 7.1.5). */
export const NO_CODE = 1005;

const OPCODES = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;
export type Opcode = keyof typeof OPCODES;
const NAMES = new Map<number, Opcode>([
  [0x0, "continuation"],
  [0x1, "text"],
  [0x2, "binary"],
  [0x8, "close"],
  [0x9, "ping"],
  [0xa, "pong"],
]);

/** The longest payload of a frame that controls the connection. */
const CONTROL_BYTES = 125;

/** One message of a server over a WebSocket, in one piece whatever frames it came in, or a control frame. */
export type Said =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "binary" | "ping" | "pong"; readonly bytes: Uint8Array }
  | { readonly type: "close"; readonly code: number; readonly reason: string };

/** Returns a frame of a client: one that is final, and masked with these 4 bytes (RFC 6455, 5.3). */
export function clientFrame(opcode: Opcode, payload: Uint8Array, mask: Uint8Array): Uint8Array {
  const { length } = payload;
  const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const frame = Buffer.allocUnsafe(2 + extra + 4 + length);
  frame[0] = 0x80 | OPCODES[opcode];
  frame[1] = 0x80 | (extra === 0 ? length : extra === 2 ? 126 : 127);
  if (extra === 2) frame.writeUInt16BE(length, 2);
  if (extra === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.set(mask, 2 + extra);
  const start = 2 + extra + 4;
  for (let at = 0; at < length; at++) frame[start + at] = (payload[at] ?? 0) ^ (mask[at & 3] ?? 0);
  return frame;
}

/** Returns the payload of a close frame. */
export function closePayload(code: number, reason: string): Uint8Array {
  if (code === NO_CODE) return new Uint8Array(0);
  const text = Buffer.from(reason).subarray(0, CONTROL_BYTES - 2);
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code, 0);
  payload.set(text, 2);
  return payload;
}

/** An error of a server that does not keep to RFC 6455. */
export class BadFrame extends Error {
  override readonly name = "BadFrame";
}

/** Reads the frames of a server from the bytes of a connection. After an error it must not be used. */
export class FrameReader {
  /** The bytes that are not read yet; a frame is read once all of it is there. */
  readonly #unread = new CollectedBytes();
  #needed = 0;
  #rest: Buffer = Buffer.alloc(0);
  /** The payloads so far of a message whose last frame is still to come, and its type. */
  readonly #parts = new CollectedBytes();
  #message: "text" | "binary" | undefined;

  /** Takes more bytes, and yields what they complete. Throws BadFrame. */
  *push(bytes: Uint8Array): Generator<Said, void, void> {
    if (this.#unread.length === 0) this.#rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    else {
      this.#unread.add(bytes);
      if (this.#unread.length < this.#needed) return;
      this.#rest = this.#unread.take();
    }
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
      const said = this.#take(frame);
      if (said !== undefined) yield said;
    }
    this.#unread.add(this.#rest);
  }

  /** Returns the next frame that is complete. */
  #next(): Frame | undefined {
    const rest = this.#rest;
    this.#needed = 0;
    const [first, second] = rest;
    if (first === undefined || second === undefined) return undefined;
    const opcode = NAMES.get(first & 0x0f);
    if ((first & 0x70) !== 0 || opcode === undefined)
      throw new BadFrame("it sent a frame of a kind that nobody asked for");
    if ((second & 0x80) !== 0) throw new BadFrame("it masked a frame, which only clients do");
    const extra = (second & 0x7f) < 126 ? 0 : (second & 0x7f) === 126 ? 2 : 8;
    if (rest.length < 2 + extra) return undefined;
    const length = extra === 0 ? second & 0x7f : extra === 2 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    const isFinal = (first & 0x80) !== 0;
    if (first & 0x08 && (length > CONTROL_BYTES || !isFinal))
      throw new BadFrame("it sent a frame of control that is too long");
    if (this.#parts.length + length > MESSAGE_BYTES)
      throw new BadFrame(`it sent a message of more than ${MESSAGE_BYTES} bytes`);
    const end = 2 + extra + length;
    if (rest.length < end) {
      this.#needed = end;
      return undefined;
    }
    this.#rest = rest.subarray(end);
    return { opcode, isFinal, payload: rest.subarray(2 + extra, end) };
  }

  #take({ opcode, isFinal, payload }: Frame): Said | undefined {
    switch (opcode) {
      case "ping":
      case "pong":
        return { type: opcode, bytes: payload };
      case "close":
        return closeOf(payload);
      case "text":
      case "binary":
        if (this.#message !== undefined) throw new BadFrame("it began a message inside of another");
        this.#message = opcode;
        break;
      case "continuation":
        if (this.#message === undefined) throw new BadFrame("it went on with a message that it had not begun");
    }
    if (!isFinal) {
      this.#parts.add(payload);
      return undefined;
    }
    return this.#finish(this.#message, payload);
  }

  #finish(type: "text" | "binary", last: Uint8Array): Said {
    this.#message = undefined;
    if (this.#parts.length > 0) this.#parts.add(last);
    const bytes = this.#parts.length > 0 ? this.#parts.take() : last;
    return type === "binary" ? { type, bytes } : { type, text: textOf(bytes) };
  }
}

interface Frame {
  readonly opcode: Opcode;
  readonly isFinal: boolean;
  readonly payload: Uint8Array;
}

function closeOf(payload: Uint8Array): Said {
  if (payload.length === 0) return { type: "close", code: NO_CODE, reason: "" };
  if (payload.length === 1) throw new BadFrame("it sent half of a code");
  const code = ((payload[0] ?? 0) << 8) | (payload[1] ?? 0);
  return { type: "close", code, reason: textOf(payload.subarray(2)) };
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new BadFrame("it sent text that is not UTF-8");
  }
}
