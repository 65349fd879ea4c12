import { STREAMS_MOST } from "./boot-frames.ts";
import {
  EXTENSIONS_MOST,
  FAILED_STAGES,
  HEADER_BYTES,
  PAYLOAD_BYTES,
  PROTOCOL_VERSION,
  ProtocolError,
  RESPONSE_STATES,
  MEMORY_SOURCES,
  STREAM_ENDINGS,
  SURROUNDINGS,
  type ExitFrame,
  type GateFrame,
  type Listener,
  type ResponseState,
} from "./frames.ts";

/** A type of frame: the length of its payload, and its reader. */
interface Form {
  readonly name: string;
  readonly least: number;
  readonly most: number;
  readonly read: (payload: Buffer) => GateFrame;
}

/** The payload of READY in our version: the version, uid, gid and surroundings; a reason why there are no cells follows. */
const READY_BYTES = 10;

/** The stage of FAILED that has a list of listeners behind it, and the most and the size of these: an address and a port. */
const NOT_LISTENING = 7;
const LISTENERS_MOST = 64;
const LISTENER_BYTES = 18;

const FORMS: ReadonlyMap<number, Form> = new Map([
  [0x81, { name: "READY", least: 1, most: 512, read: readReady }],
  [0x82, { name: "LOG", least: 2, most: PAYLOAD_BYTES, read: readLog }],
  [0x88, { name: "TAIL", least: 6, most: PAYLOAD_BYTES, read: readTail }],
  [0x83, { name: "EXPIRED", least: 0, most: 0, read: () => ({ type: "expired" }) }],
  [0x84, { name: "EXIT", least: 57, most: 57, read: readExit }],
  [
    0x85,
    { name: "RESPONSE", least: 1, most: PAYLOAD_BYTES, read: (payload) => ({ type: "response", bytes: payload }) },
  ],
  [0x87, { name: "META", least: 1, most: PAYLOAD_BYTES, read: (payload) => ({ type: "meta", bytes: payload }) }],
  [0x8a, { name: "DATA", least: 5, most: PAYLOAD_BYTES, read: readData }],
  [0x8b, { name: "CREDIT", least: 8, most: 8, read: readCredit }],
  [0x86, { name: "FAILED", least: 5, most: 6 + LISTENERS_MOST * LISTENER_BYTES, read: readFailed }],
  [0x89, { name: "BOOTED", least: 28, most: 28, read: readBooted }],
  [0x8d, { name: "ACCEPT", least: 4, most: 4, read: readAccept }],
  [0x8e, { name: "USED", least: 9, most: 9, read: readUsed }],
  [0x8f, { name: "EXTENSIONS", least: 2, most: 2 + EXTENSIONS_MOST * 256, read: readExtensions }],
  [0x90, { name: "EXTENSION_END", least: 7, most: 7, read: readExtensionEnd }],
  [0x8c, { name: "CLOSE", least: 9, most: 9, read: readClose }],
] satisfies [number, Form][]);

/**
 * Cuts a gate's stream into frames, whatever its chunks are. Each byte is copied once, and at most one frame is held.
 * Nothing is trusted: a violation throws a ProtocolError, and so does every call after it.
 */
export class FrameDecoder {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  /** The buffer that is being filled: the header while there is no form, else the payload. */
  #filling: Buffer = this.#header;
  #filled = 0;
  #form: Form | undefined;
  #broken: ProtocolError | undefined;

  /** Yields the frames that end in this chunk. Run it to its end: the frames that are not taken are lost. */
  *push(chunk: Uint8Array): Generator<GateFrame, void, void> {
    if (this.#broken) throw this.#broken;
    let at = 0;
    while (at < chunk.length) {
      at += this.#fill(chunk.subarray(at));
      const frame = this.#next();
      if (frame) yield frame;
    }
  }

  /** Throws if the stream ended in the middle of a frame. Call it when the stream has ended. */
  end(): void {
    if (this.#broken) throw this.#broken;
    if (this.#form || this.#filled > 0) this.#break("The stream ends in the middle of a frame");
  }

  #fill(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.#filling.length - this.#filled);
    this.#filling.set(taken, this.#filled);
    this.#filled += taken.length;
    return taken.length;
  }

  /** Returns the frame that is complete now, if there is one. */
  #next(): GateFrame | undefined {
    if (!this.#form && this.#filled === HEADER_BYTES) this.#startPayload();
    if (!this.#form || this.#filled < this.#filling.length) return undefined;
    const { read, name } = this.#form;
    const payload = this.#filling;
    this.#form = undefined;
    this.#filling = this.#header;
    this.#filled = 0;
    try {
      return read(payload);
    } catch (error) {
      return this.#break(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #startPayload(): void {
    const type = this.#header.readUInt8(0);
    const length = this.#header.readUInt32BE(1);
    const form = FORMS.get(type);
    if (!form) return this.#break(`A frame has the unknown type ${type}`);
    if (length < form.least || length > form.most) this.#break(`${form.name} has ${length} bytes`);
    this.#form = form;
    // It is filled before anyone sees it.
    this.#filling = Buffer.allocUnsafeSlow(length);
    this.#filled = 0;
  }

  #break(message: string): never {
    this.#broken = new ProtocolError(message);
    throw this.#broken;
  }
}

/** Reads the version first: another one may have another payload, which nobody can read here. */
function readReady(payload: Buffer): GateFrame {
  const version = payload.readUInt8(0);
  if (version !== PROTOCOL_VERSION) return { type: "ready", version };
  if (payload.length < READY_BYTES) throw new ProtocolError(`it has ${payload.length} bytes`);
  const surroundings = entry(SURROUNDINGS, payload.readUInt8(9), "surroundings");
  const why = payload.subarray(READY_BYTES).toString();
  if ((surroundings === "no_cells") !== (why !== "")) throw new ProtocolError("a reason is missing or means nothing");
  return { type: "ready", version, uid: payload.readUInt32BE(1), gid: payload.readUInt32BE(5), surroundings, why };
}

function readLog(payload: Buffer): GateFrame {
  return { type: "log", stream: readStream(payload), bytes: payload.subarray(1) };
}

function readTail(payload: Buffer): GateFrame {
  return { type: "tail", stream: readStream(payload), age_ms: payload.readUInt32BE(1), bytes: payload.subarray(5) };
}

function readData(payload: Buffer): GateFrame {
  return { type: "data", stream: payload.readUInt32BE(0), bytes: payload.subarray(4) };
}

function readCredit(payload: Buffer): GateFrame {
  return { type: "credit", stream: payload.readUInt32BE(0), more: payload.readUInt32BE(4) };
}

function readStream(payload: Buffer): "stdout" | "stderr" {
  return entry(["stdout", "stderr"] as const, payload.readUInt8(0) - 1, "stream");
}

function readBooted(payload: Buffer): GateFrame {
  const streams = payload.readUInt16BE(26);
  if (streams < 1 || streams > STREAMS_MOST) throw new ProtocolError(`it allows ${streams} streams`);
  return { type: "booted", bootUs: counter(payload, 0), ...readListener(payload, 8), streams };
}

function readAccept(payload: Buffer): GateFrame {
  return { type: "accept", stream: payload.readUInt32BE(0) };
}

function readUsed(payload: Buffer): GateFrame {
  const source = entry(MEMORY_SOURCES, payload.readUInt8(8) - 1, "source of memory");
  return { type: "used", peakBytes: counter(payload, 0), source };
}

function readExtensions(payload: Buffer): GateFrame {
  const count = payload.readUInt16BE(0);
  const names: string[] = [];
  for (let at = 2; at < payload.length;) {
    const end = at + 1 + payload.readUInt8(at);
    if (end === at + 1 || end > payload.length) throw new ProtocolError("a name is cut off");
    names.push(payload.toString("latin1", at + 1, end));
    at = end;
  }
  const told = count > EXTENSIONS_MOST ? 0 : count;
  if (count === 0 || names.length !== told) throw new ProtocolError(`it has ${names.length} names of ${count}`);
  return { type: "extensions", count, names };
}

function readExtensionEnd(payload: Buffer): GateFrame {
  return {
    type: "extension_end",
    index: payload.readUInt8(0),
    exitCode: payload.readUInt8(1),
    signal: payload.readUInt8(2),
    errno: payload.readUInt32BE(3),
  };
}

function readClose(payload: Buffer): GateFrame {
  return {
    type: "close",
    stream: payload.readUInt32BE(0),
    ending: entry(STREAM_ENDINGS, payload.readUInt8(4) - 1, "ending"),
    errno: payload.readUInt32BE(5),
  };
}

function readNotListening(payload: Buffer): GateFrame {
  const count = payload.length > 5 ? payload.readUInt8(5) : 0;
  if (payload.length !== 6 + count * LISTENER_BYTES) throw new ProtocolError(`it has ${payload.length} bytes`);
  const listeners = Array.from({ length: count }, (_, index) => readListener(payload, 6 + index * LISTENER_BYTES));
  return { type: "not_listening", listeners };
}

/** Reads an address of 16 bytes and a port. IPv4 addresses are mapped ones (::ffff:0:0/96). */
function readListener(payload: Buffer, at: number): Listener {
  const port = payload.readUInt16BE(at + 16);
  const words = Array.from({ length: 8 }, (_, index) => payload.readUInt16BE(at + 2 * index));
  const isMapped = words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff;
  if (isMapped) return { address: payload.subarray(at + 12, at + 16).join("."), port };
  const { hostname } = new URL(`http://[${words.map((word) => word.toString(16)).join(":")}]`);
  return { address: hostname.slice(1, -1), port };
}

function readFailed(payload: Buffer): GateFrame {
  if (payload.readUInt8(0) === NOT_LISTENING) return readNotListening(payload);
  if (payload.length !== 5) throw new ProtocolError(`it has ${payload.length} bytes`);
  return {
    type: "failed",
    stage: entry(FAILED_STAGES, payload.readUInt8(0) - 1, "stage"),
    errno: payload.readUInt32BE(1),
  };
}

function readExit(payload: Buffer): ExitFrame {
  const meta = readFileState(payload, 46);
  const response = readFileState(payload, 52);
  return {
    type: "exit",
    exitCode: payload.readUInt8(0),
    signal: payload.readUInt8(1),
    oomKills: payload.readUInt32BE(2),
    userUs: counter(payload, 6),
    systemUs: counter(payload, 14),
    peakBytes: counter(payload, 22),
    wallUs: counter(payload, 30),
    logDroppedBytes: counter(payload, 38),
    metaState: meta.state,
    metaBytes: meta.bytes,
    bodyFile: entry([false, true] as const, payload.readUInt8(51), "source of the response"),
    responseState: response.state,
    responseBytes: response.bytes,
  };
}

function readFileState(payload: Buffer, at: number): { readonly state: ResponseState; readonly bytes: number } {
  const state = entry(RESPONSE_STATES, payload.readUInt8(at), "response state");
  const bytes = payload.readUInt32BE(at + 1);
  if (state !== "fine" && bytes > 0) throw new ProtocolError("a file is promised and there is none");
  return { state, bytes };
}

function entry<T>(table: readonly T[], index: number, what: string): T {
  const value = table[index];
  if (value === undefined) throw new ProtocolError(`unknown ${what}`);
  return value;
}

/** Reads a u64. No function can reach a value beyond 2^53, and JavaScript has no exact number for it. */
function counter(payload: Buffer, at: number): number {
  const value = payload.readBigUInt64BE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolError(`a counter is ${value}`);
  return Number(value);
}
