import {
  FAILED_STAGES,
  MEMORY_SOURCES,
  RESPONSE_STATES,
  STREAM_ENDINGS,
  SURROUNDINGS,
  type ExitFrame,
  type GateFrame,
  type Listener,
  type ReadyFrame,
} from "../../../lib/runner/gate-protocol/frames.ts";

/** Encodes a frame as the gate would: the inverse of FrameDecoder. */
export function encodeGateFrame(frame: GateFrame): Buffer {
  switch (frame.type) {
    case "ready":
      return rawFrame(0x81, ready(frame));
    case "log":
      return rawFrame(0x82, Buffer.concat([Buffer.of(frame.stream === "stdout" ? 1 : 2), frame.bytes]));
    case "tail": {
      const payload = Buffer.alloc(5);
      payload.writeUInt8(frame.stream === "stdout" ? 1 : 2, 0);
      payload.writeUInt32BE(frame.age_ms, 1);
      return rawFrame(0x88, Buffer.concat([payload, frame.bytes]));
    }
    case "expired":
      return rawFrame(0x83, Buffer.alloc(0));
    case "exit": {
      const payload = Buffer.alloc(57);
      payload.writeUInt8(frame.exitCode, 0);
      payload.writeUInt8(frame.signal, 1);
      payload.writeUInt32BE(frame.oomKills, 2);
      const counters = [frame.userUs, frame.systemUs, frame.peakBytes, frame.wallUs, frame.logDroppedBytes];
      counters.forEach((value, index) => payload.writeBigUInt64BE(BigInt(value), 6 + 8 * index));
      payload.writeUInt8(RESPONSE_STATES.indexOf(frame.metaState), 46);
      payload.writeUInt32BE(frame.metaBytes, 47);
      payload.writeUInt8(frame.bodyFile ? 1 : 0, 51);
      payload.writeUInt8(RESPONSE_STATES.indexOf(frame.responseState), 52);
      payload.writeUInt32BE(frame.responseBytes, 53);
      return rawFrame(0x84, payload);
    }
    case "meta":
      return rawFrame(0x87, frame.bytes);
    case "response":
      return rawFrame(0x85, frame.bytes);
    case "data":
      return rawFrame(0x8a, Buffer.concat([numbers(frame.stream), frame.bytes]));
    case "credit":
      return rawFrame(0x8b, numbers(frame.stream, frame.more));
    case "failed": {
      const payload = Buffer.alloc(5);
      payload.writeUInt8(FAILED_STAGES.indexOf(frame.stage) + 1, 0);
      payload.writeUInt32BE(frame.errno, 1);
      return rawFrame(0x86, payload);
    }
    case "not_listening": {
      const head = Buffer.of(7, 0, 0, 0, 0, frame.listeners.length);
      return rawFrame(0x86, Buffer.concat([head, ...frame.listeners.map(listener)]));
    }
    case "booted": {
      const payload = Buffer.alloc(28);
      payload.writeBigUInt64BE(BigInt(frame.bootUs), 0);
      listener(frame).copy(payload, 8);
      payload.writeUInt16BE(frame.streams, 26);
      return rawFrame(0x89, payload);
    }
    case "accept":
      return rawFrame(0x8d, numbers(frame.stream));
    case "used": {
      const payload = Buffer.alloc(9);
      payload.writeBigUInt64BE(BigInt(frame.peakBytes), 0);
      payload.writeUInt8(MEMORY_SOURCES.indexOf(frame.source) + 1, 8);
      return rawFrame(0x8e, payload);
    }
    case "extensions": {
      const count = Buffer.alloc(2);
      count.writeUInt16BE(frame.count);
      const names = frame.names.map((name) => Buffer.from(`${String.fromCharCode(name.length)}${name}`, "latin1"));
      return rawFrame(0x8f, Buffer.concat([count, ...names]));
    }
    case "extension_end":
      return rawFrame(
        0x90,
        Buffer.concat([Buffer.of(frame.index, frame.exitCode, frame.signal), numbers(frame.errno)]),
      );
    case "close": {
      const payload = Buffer.alloc(9);
      payload.writeUInt32BE(frame.stream, 0);
      payload.writeUInt8(STREAM_ENDINGS.indexOf(frame.ending) + 1, 4);
      payload.writeUInt32BE(frame.errno, 5);
      return rawFrame(0x8c, payload);
    }
  }
}

/** Returns the EXIT of a command that has succeeded and written no files, with these differences. */
export function exitFrame(changes: Partial<ExitFrame> = {}): ExitFrame {
  return {
    type: "exit",
    exitCode: 0,
    signal: 0,
    oomKills: 0,
    userUs: 1_000,
    systemUs: 2_000,
    peakBytes: 3,
    wallUs: 4,
    logDroppedBytes: 0,
    metaState: "missing",
    metaBytes: 0,
    bodyFile: false,
    responseState: "missing",
    responseBytes: 0,
    ...changes,
  };
}

/** Makes a frame of any type with any payload. */
export function rawFrame(type: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt8(type, 0);
  header.writeUInt32BE(payload.length, 1);
  return Buffer.concat([header, payload]);
}

/** An address, with IPv4 as a mapped one, and a port. */
function listener({ address, port }: Listener): Buffer {
  const bytes = Buffer.alloc(18);
  bytes.writeUInt16BE(port, 16);
  if (address.includes(".")) {
    bytes.writeUInt16BE(0xffff, 10);
    address.split(".").forEach((part, index) => bytes.writeUInt8(Number(part), 12 + index));
    return bytes;
  }
  const [front = "", back = ""] = address.split("::");
  const words = (half: string) => half.split(":").filter((word) => word !== "");
  words(front).forEach((word, index) => bytes.writeUInt16BE(parseInt(word, 16), 2 * index));
  words(back)
    .toReversed()
    .forEach((word, index) => bytes.writeUInt16BE(parseInt(word, 16), 14 - 2 * index));
  return bytes;
}

/** Encodes numbers of four bytes. */
function numbers(...values: readonly number[]): Buffer {
  const payload = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => payload.writeUInt32BE(value, 4 * index));
  return payload;
}

/** The payload of READY: other versions than ours have nothing but the number that is known. */
function ready({ version, uid, gid, surroundings = "processes", why = "" }: ReadyFrame): Buffer {
  if (uid === undefined || gid === undefined) return Buffer.of(version);
  const payload = Buffer.alloc(10);
  payload.writeUInt8(version, 0);
  payload.writeUInt32BE(uid, 1);
  payload.writeUInt32BE(gid, 5);
  payload.writeUInt8(SURROUNDINGS.indexOf(surroundings), 9);
  return Buffer.concat([payload, Buffer.from(why)]);
}
