import { expect, test } from "bun:test";
import fc from "fast-check";
import { FrameDecoder } from "../../../lib/runner/gate-protocol/frame-decoder.ts";
import {
  FAILED_STAGES,
  PAYLOAD_BYTES,
  PROTOCOL_VERSION,
  ProtocolError,
  RESPONSE_STATES,
  STREAM_ENDINGS,
  bodyFrames,
  encodeRequest,
  extraFrames,
  type GateFrame,
} from "../../../lib/runner/gate-protocol/frames.ts";
import { encodeGateFrame, rawFrame } from "../../gate/support/gate-frames.ts";

const u8 = fc.integer({ min: 0, max: 255 });
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const counter = fc.maxSafeNat();
const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((value) => Buffer.from(value));

const listener = {
  address: fc.constantFrom("0.0.0.0", "127.0.0.1", "10.1.2.255", "::", "::1", "fe80::1:2", "2001:db8::"),
  port: fc.integer({ min: 0, max: 65_535 }),
};

const extensions = fc.array(fc.string({ minLength: 1, maxLength: 255, unit: "binary-ascii" }), {
  minLength: 1,
  maxLength: 10,
});

const frames: fc.Arbitrary<GateFrame> = fc.oneof(
  extensions.map((names) => ({ type: "extensions" as const, count: names.length, names })),
  fc.constant({ type: "extensions" as const, count: 100, names: [] }),
  fc.record({ type: fc.constant("extension_end" as const), index: u8, exitCode: u8, signal: u8, errno: u32 }),
  fc.record({ type: fc.constant("ready" as const), version: fc.constantFrom(0, 2, 3, 4, 255) }),
  fc.record({
    type: fc.constant("ready" as const),
    version: fc.constant(PROTOCOL_VERSION),
    uid: u32,
    gid: u32,
    surroundings: fc.constantFrom("processes" as const, "cells" as const),
    why: fc.constant(""),
  }),
  fc.record({
    type: fc.constant("ready" as const),
    version: fc.constant(PROTOCOL_VERSION),
    uid: u32,
    gid: u32,
    surroundings: fc.constant("no_cells" as const),
    why: fc.constantFrom("the root: Invalid argument", "x"),
  }),
  fc.record({
    type: fc.constant("log" as const),
    stream: fc.constantFrom("stdout" as const, "stderr" as const),
    bytes,
  }),
  fc.constant({ type: "expired" as const }),
  fc
    .record({
      type: fc.constant("exit" as const),
      exitCode: u8,
      signal: u8,
      oomKills: u32,
      userUs: counter,
      systemUs: counter,
      peakBytes: counter,
      wallUs: counter,
      logDroppedBytes: counter,
      metaState: fc.constantFrom(...RESPONSE_STATES),
      metaBytes: u32,
      bodyFile: fc.boolean(),
      responseState: fc.constantFrom(...RESPONSE_STATES),
      responseBytes: u32,
    })
    .map((exit) => ({
      ...exit,
      metaBytes: exit.metaState === "fine" ? exit.metaBytes : 0,
      responseBytes: exit.responseState === "fine" ? exit.responseBytes : 0,
    })),
  fc.record({ type: fc.constant("meta" as const), bytes }),
  fc.record({ type: fc.constant("response" as const), bytes }),
  fc.record({ type: fc.constant("failed" as const), stage: fc.constantFrom(...FAILED_STAGES), errno: u32 }),
  fc.record({ type: fc.constant("data" as const), stream: u32, bytes }),
  fc.record({ type: fc.constant("credit" as const), stream: u32, more: u32 }),
  fc.record({ type: fc.constant("accept" as const), stream: u32 }),
  fc.record({
    type: fc.constant("close" as const),
    stream: u32,
    ending: fc.constantFrom(...STREAM_ENDINGS),
    errno: u32,
  }),
  fc.record({
    type: fc.constant("not_listening" as const),
    listeners: fc.array(fc.record(listener), { maxLength: 64 }),
  }),
  fc.record({
    type: fc.constant("booted" as const),
    bootUs: counter,
    ...listener,
    streams: fc.integer({ min: 1, max: 64 }),
  }),
);

/** The frames of a stream that comes in these chunks, and the error that ends it, if one does. */
function decode(chunks: Iterable<Uint8Array>): { frames: GateFrame[]; error: unknown } {
  const decoder = new FrameDecoder();
  const decoded: GateFrame[] = [];
  try {
    for (const chunk of chunks) for (const frame of decoder.push(chunk)) decoded.push(frame);
    decoder.end();
    return { frames: decoded, error: undefined };
  } catch (error) {
    return { frames: decoded, error };
  }
}

/** Cuts `stream` at positions that `cuts` gives. */
function chunked(stream: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = cuts.map((cut) => cut % (stream.length + 1)).toSorted((a, b) => a - b);
  return [0, ...places].map((from, index) => stream.subarray(from, places[index] ?? stream.length));
}

test("FrameDecoder returns every frame, however the stream is split", () => {
  fc.assert(
    fc.property(fc.array(frames), fc.array(fc.nat()), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(encodeGateFrame));
      expect(decode(chunked(stream, cuts))).toEqual({ frames: sent, error: undefined });
    }),
  );
});

test("FrameDecoder returns the same frames and the same error for any bytes, however they are split", () => {
  // Mostly frames that are nearly right: plain noise dies in its first byte.
  const noise = fc.oneof(
    frames.map(encodeGateFrame),
    fc.uint8Array({ maxLength: 60 }),
    fc.tuple(fc.integer({ min: 0x80, max: 0x8e }), fc.uint8Array({ maxLength: 60 })).map((raw) => rawFrame(...raw)),
  );
  fc.assert(
    fc.property(fc.array(noise, { maxLength: 8 }), fc.array(fc.nat()), (pieces, cuts) => {
      const stream = Buffer.concat(pieces);
      const whole = decode([stream]);
      if (whole.error !== undefined) expect(whole.error).toBeInstanceOf(ProtocolError);
      expect(decode(chunked(stream, cuts))).toEqual(whole);
    }),
    { numRuns: 500 },
  );
});

test.each([
  ["an unknown type", rawFrame(0x80, Buffer.alloc(1)), "unknown type 128"],
  ["the server's own frames", rawFrame(0x02, Buffer.alloc(1)), "unknown type 2"],
  ["a payload over the limit", rawFrame(0x85, Buffer.alloc(PAYLOAD_BYTES + 1)), "RESPONSE has 65537 bytes"],
  ["a length of four gigabytes", Buffer.of(0x82, 255, 255, 255, 255), "LOG has 4294967295 bytes"],
  ["a READY of nine bytes", rawFrame(0x81, Buffer.alloc(9, PROTOCOL_VERSION)), "READY: it has 9 bytes"],
  ["a READY of no surroundings", rawFrame(0x81, Buffer.alloc(10, PROTOCOL_VERSION)), "READY: unknown surroundings"],
  ["a READY without cells and without a reason", readyWith(2), "READY: a reason is missing"],
  ["a READY with cells and with a reason", readyWith(1, "why"), "READY: a reason is missing or means nothing"],
  ["a READY without its user", rawFrame(0x81, Buffer.of(PROTOCOL_VERSION)), "READY: it has 1 bytes"],
  ["an empty READY", rawFrame(0x81, Buffer.alloc(0)), "READY has 0 bytes"],
  ["a LOG without a byte", rawFrame(0x82, Buffer.of(1)), "LOG has 1 bytes"],
  ["a LOG of no stream", rawFrame(0x82, Buffer.of(3, 65)), "LOG: unknown stream"],
  ["an EXPIRED with a payload", rawFrame(0x83, Buffer.alloc(1)), "EXPIRED has 1 bytes"],
  ["a short EXIT", rawFrame(0x84, Buffer.alloc(56)), "EXIT has 56 bytes"],
  ["an EXIT of no state", rawFrame(0x84, Buffer.alloc(57, 5)), "EXIT: unknown response state"],
  ["an EXIT with a length and no file", exitWith(52, 1, 56, 1), "EXIT: a file is promised and there is none"],
  ["an EXIT with a length and no meta", exitWith(46, 1, 50, 1), "EXIT: a file is promised and there is none"],
  ["an EXIT of no source", exitWith(51, 2), "EXIT: unknown source of the response"],
  ["an empty META", rawFrame(0x87, Buffer.alloc(0)), "META has 0 bytes"],
  ["a META over the limit", rawFrame(0x87, Buffer.alloc(PAYLOAD_BYTES + 1)), "META has 65537 bytes"],
  ["an EXIT with a counter of 2^63", exitWith(6, 128), "EXIT: a counter is 9223372036854775808"],
  ["an empty RESPONSE", rawFrame(0x85, Buffer.alloc(0)), "RESPONSE has 0 bytes"],
  ["a FAILED of no stage", rawFrame(0x86, Buffer.alloc(5)), "FAILED: unknown stage"],
  ["a FAILED of no stage that has listeners", rawFrame(0x86, Buffer.of(4, 0, 0, 0, 2, 0)), "FAILED: it has 6 bytes"],
  ["a FAILED of stage 7 without its list", rawFrame(0x86, Buffer.of(7, 0, 0, 0, 0)), "FAILED: it has 5 bytes"],
  ["a FAILED that lacks a listener", rawFrame(0x86, Buffer.of(7, 0, 0, 0, 0, 1)), "FAILED: it has 6 bytes"],
  ["a BOOTED of no streams", rawFrame(0x89, Buffer.alloc(28)), "BOOTED: it allows 0 streams"],
  ["a BOOTED of too many streams", rawFrame(0x89, Buffer.alloc(28, 1)), "BOOTED: it allows 257 streams"],
  ["a short BOOTED", rawFrame(0x89, Buffer.alloc(27)), "BOOTED has 27 bytes"],
  ["EXTENSIONS of none", rawFrame(0x8f, Buffer.of(0, 0)), "EXTENSIONS: it has 0 names of 0"],
  ["EXTENSIONS that lack one", rawFrame(0x8f, Buffer.of(0, 2, 1, 65)), "EXTENSIONS: it has 1 names of 2"],
  ["EXTENSIONS with a part of a name", rawFrame(0x8f, Buffer.of(0, 1, 2, 65)), "EXTENSIONS: a name is cut off"],
  ["EXTENSIONS with an empty name", rawFrame(0x8f, Buffer.of(0, 1, 0)), "EXTENSIONS: a name is cut off"],
  ["EXTENSIONS with too many names", rawFrame(0x8f, Buffer.of(0, 11, 1, 65)), "EXTENSIONS: it has 1 names of 11"],
  ["a short EXTENSION_END", rawFrame(0x90, Buffer.alloc(6)), "EXTENSION_END has 6 bytes"],
  ["a CLOSE of no ending", rawFrame(0x8c, Buffer.alloc(9)), "CLOSE: unknown ending"],
  ["a DATA without a byte", rawFrame(0x8a, Buffer.alloc(4)), "DATA has 4 bytes"],
  ["a long CREDIT", rawFrame(0x8b, Buffer.alloc(9)), "CREDIT has 9 bytes"],
  ["a cut frame", rawFrame(0x81, Buffer.of(1)).subarray(0, 5), "in the middle of a frame"],
  ["a cut header", Buffer.of(0x81), "in the middle of a frame"],
])("FrameDecoder refuses %s", (_, stream, message) => {
  const { error } = decode([stream]);
  expect(error).toBeInstanceOf(ProtocolError);
  expect(String(error)).toContain(message);
});

/** An EXIT of zeros but for these (position, value) pairs. */
function exitWith(...pairs: readonly number[]): Buffer {
  const payload = Buffer.alloc(57);
  for (let index = 0; index < pairs.length; index += 2) payload[pairs[index] ?? 0] = pairs[index + 1] ?? 0;
  return rawFrame(0x84, payload);
}

/** A READY of our version that speaks of its cells. */
function readyWith(surroundings: number, why = ""): Buffer {
  const payload = Buffer.alloc(10);
  payload[0] = PROTOCOL_VERSION;
  payload[9] = surroundings;
  return rawFrame(0x81, Buffer.concat([payload, Buffer.from(why)]));
}

test("FrameDecoder stays broken after a violation", () => {
  const decoder = new FrameDecoder();
  expect(() => [...decoder.push(Buffer.of(0, 0, 0, 0, 0))]).toThrow(ProtocolError);
  expect(() => [...decoder.push(rawFrame(0x81, Buffer.of(1)))]).toThrow(ProtocolError);
  expect(() => decoder.end()).toThrow(ProtocolError);
});

test("FrameDecoder decodes a stream of one-byte chunks and frames in linear time", () => {
  const frame = rawFrame(0x82, Buffer.of(1, 65));
  const stream = Buffer.concat(Array.from({ length: 50_000 }, () => frame));
  const singles = Array.from(stream, (_, index) => stream.subarray(index, index + 1));
  // A quadratic one needs minutes for this; bun's timeout for a test is 5 s.
  expect(decode(singles).frames.length).toBe(50_000);
  expect(decode([stream]).frames.length).toBe(50_000);
});

test("encodeRequest lays the fields out as PROTOCOL.md says", () => {
  const request = {
    timeoutMs: 1,
    graceMs: 2,
    responseLimit: 3,
    logLimit: 4,
    bodyLength: 5,
    extraFrames: 6,
    again: true,
    bodyFile: false,
    withinMs: 7,
    contextRoot: "/ü",
    id: "x",
  };
  const payload = "00000001 00000002 00000003 00000004 00000005 00000006 01 00000007 0003 2fc3bc 0001 78".replaceAll(
    " ",
    "",
  );
  expect(Buffer.from(encodeRequest(request)).toString("hex")).toBe(`0100000025${payload}`);
  expect(() => encodeRequest({ ...request, timeoutMs: 2 ** 32 })).toThrow(RangeError);
  expect(() => encodeRequest({ ...request, contextRoot: "x".repeat(65_536) })).toThrow(RangeError);
});

test("encodeRequest has a flag each for another request and for a body file", () => {
  const sizes = { timeoutMs: 1, graceMs: 1, responseLimit: 1, logLimit: 1, bodyLength: 1, extraFrames: 0 };
  const flags = (again: boolean, bodyFile: boolean) =>
    encodeRequest({ ...sizes, again, bodyFile, contextRoot: "/", id: "x" })[5 + 24];
  expect([flags(false, false), flags(true, false), flags(false, true), flags(true, true)]).toEqual([0, 1, 2, 3]);
});

test("extraFrames lays variables and files out as PROTOCOL.md says", () => {
  const frames = extraFrames({
    environment: { A: "ü=" },
    files: [
      { place: "context", name: "n", bytes: Buffer.from("12") },
      { place: "secrets", name: "s", bytes: Buffer.alloc(0) },
    ],
  });
  const expected = ["0300000006 000141 c3bc3d", "0400000006 01 00016e 3132", "0400000004 02 000173"];
  expect(frames.map((frame) => Buffer.from(frame).toString("hex"))).toEqual(
    expected.map((hex) => hex.replaceAll(" ", "")),
  );
});

test("extraFrames of a file stay within the payload limit, begin with its name, and add up to the file", () => {
  fc.assert(
    fc.property(fc.nat({ max: 3 * PAYLOAD_BYTES }), fc.string({ minLength: 1, maxLength: 60 }), (length, name) => {
      const bytes = Buffer.alloc(length, "slipway");
      const frames = extraFrames({ environment: {}, files: [{ place: "secrets", name, bytes }] }).map((frame) =>
        Buffer.from(frame),
      );
      const head = Buffer.concat([Buffer.of(2, 0, Buffer.byteLength(name)), Buffer.from(name)]);
      expect(frames.length).toBeGreaterThan(0);
      for (const frame of frames) {
        expect(frame.length).toBeLessThanOrEqual(PAYLOAD_BYTES + 5);
        expect(frame.readUInt32BE(1)).toBe(frame.length - 5);
        expect(frame.subarray(5, 5 + head.length)).toEqual(head);
      }
      expect(Buffer.concat(frames.map((frame) => frame.subarray(5 + head.length))).equals(bytes)).toBe(true);
    }),
    {
      examples: [
        [0, "n"],
        [PAYLOAD_BYTES - 4, "n"],
        [PAYLOAD_BYTES - 3, "n"],
      ],
    },
  );
});

test("extraFrames refuses a variable that does not fit into a frame", () => {
  const variable = (length: number) => extraFrames({ environment: { A: "x".repeat(length) }, files: [] });
  expect(variable(PAYLOAD_BYTES - 3).length).toBe(1);
  expect(() => variable(PAYLOAD_BYTES - 2)).toThrow('The variable "A" is too long for a frame');
});

test("bodyFrames stay within the payload limit, are never empty, and add up to the body", () => {
  fc.assert(
    fc.property(fc.nat({ max: 3 * PAYLOAD_BYTES + 1 }), (length) => {
      const body = Buffer.alloc(length, "slipway");
      const pieces = [...bodyFrames(body)].map((frame) => Buffer.from(frame));
      for (const piece of pieces) {
        expect(piece[0]).toBe(0x02);
        expect(piece.readUInt32BE(1)).toBe(piece.length - 5);
        expect(piece.length).toBeWithin(6, PAYLOAD_BYTES + 6);
      }
      expect(Buffer.concat(pieces.map((piece) => piece.subarray(5))).equals(body)).toBe(true);
    }),
    { examples: [[0], [1], [PAYLOAD_BYTES], [PAYLOAD_BYTES + 1], [2 * PAYLOAD_BYTES]] },
  );
});
