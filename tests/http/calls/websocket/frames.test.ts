import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { arraysKept } from "../../support/arrays-kept.ts";
import {
  BadFrame,
  clientFrame,
  closePayload,
  FrameReader,
  MESSAGE_BYTES,
  type Said,
} from "../../../../lib/http/calls/websocket/frames.ts";

/** A frame as a server sends it: without a mask. */
function serverFrame(first: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const head = length < 126 ? [first, length] : [first, 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), payload]);
}

function read(bytes: Uint8Array, cuts: readonly number[] = []): Said[] {
  const reader = new FrameReader();
  const ends = [...cuts, bytes.length].map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b);
  return ends.flatMap((end, index) => [...reader.push(bytes.subarray(ends[index - 1] ?? 0, end))]);
}

const payload = fc.uint8Array({ maxLength: 400 });

describe("FrameReader", () => {
  test("reads messages wherever their frames and bytes are cut", () => {
    const property = fc.property(
      fc.array(payload, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(2_000)),
      (parts, cuts) => {
        const frames = parts.map((part, index) => {
          const final = index === parts.length - 1 ? 0x80 : 0;
          return [serverFrame(final | (index === 0 ? 2 : 0), part), serverFrame(0x89, Buffer.from("p"))];
        });
        const said = read(Buffer.concat(frames.flat()), cuts);
        const whole: Said = { type: "binary", bytes: Buffer.concat(parts) };
        expect(said.filter(({ type }) => type === "ping")).toHaveLength(parts.length);
        expect(said.filter(({ type }) => type === "binary").map(hexOf)).toEqual([hexOf(whole)]);
      },
    );
    fc.assert(property, { numRuns: 50 });
  });

  test("reads texts and the end", () => {
    const close = Buffer.concat([Buffer.from([0x03, 0xe8]), Buffer.from("bye")]);
    const bytes = Buffer.concat([
      serverFrame(0x81, Buffer.from("grüß")),
      serverFrame(0x88, close),
      serverFrame(0x88, Buffer.from("")),
    ]);
    expect(read(bytes)).toEqual([
      { type: "text", text: "grüß" },
      { type: "close", code: 1000, reason: "bye" },
      { type: "close", code: 1005, reason: "" },
    ]);
  });

  test.each([
    ["a mask", [0x81, 0x80, 1, 2, 3, 4]],
    ["a bit of an extension", [0xc1, 0x00]],
    ["an unknown kind", [0x83, 0x00]],
    ["a long ping", [0x89, 0x7e, 0x00, 0x7e]],
    ["a ping in pieces", [0x09, 0x00]],
    ["a message within another", [0x01, 0x00, 0x81, 0x00]],
    ["the end of no message", [0x80, 0x00]],
    ["a message beyond the limit", [0x82, 0x7f, 0, 0, 0, 0, 0x01, 0, 0, 0x01]],
    ["half of a code", [0x88, 0x01, 0x03]],
    ["text that is not UTF-8", [0x81, 0x01, 0xff]],
  ])("refuses %s", (_name, bytes) => {
    expect(() => read(Buffer.from(bytes))).toThrow(BadFrame);
  });

  test.each([
    ["empty frames", [0x00, 0x00], 0],
    ["frames of one byte", [0x00, 0x01, 0x78], 200_000],
  ])("holds a message of many %s as its bytes alone", (_name, frame, length) => {
    const reader = new FrameReader();
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => Buffer.from(frame)));
    expect([...reader.push(Buffer.from([0x02, 0x00]))]).toEqual([]);
    const before = arraysKept();
    for (let sent = 0; sent < 200; sent++) expect([...reader.push(many)]).toEqual([]);
    expect(arraysKept() - before).toBeLessThan(1_000);
    const [said] = reader.push(Buffer.from([0x80, 0x00]));
    expect(said).toEqual({ type: "binary", bytes: Buffer.alloc(length, "x") });
  });

  test("holds a frame that comes byte by byte as its bytes alone", () => {
    const reader = new FrameReader();
    const length = 100_000;
    const head = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0]);
    const before = arraysKept();
    const said = Array.from(Buffer.concat([head, Buffer.alloc(length - 1)]), (byte) => [
      ...reader.push(Uint8Array.of(byte)),
    ]);
    expect(said.flat()).toEqual([]);
    expect(arraysKept() - before).toBeLessThan(1_000);
    expect([...reader.push(Uint8Array.of(1))]).toMatchObject([{ type: "binary", bytes: { length } }]);
  });

  test("throws nothing but BadFrame whatever comes", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        read(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(BadFrame);
      }
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe("clientFrame", () => {
  test.each([0, 1, 125, 126, 65_535, 65_536])("has the payload of %d bytes behind its mask", (length) => {
    const sent = Buffer.alloc(length, "abc");
    const mask = Buffer.from([1, 2, 3, 4]);
    const frame = Buffer.from(clientFrame("binary", sent, mask));
    const start = frame.length - length;
    expect(frame.subarray(start - 4, start)).toEqual(mask);
    expect(frame.subarray(start).map((byte, at) => byte ^ (mask[at & 3] ?? 0))).toEqual(sent);
    expect([frame[0], (frame[1] ?? 0) & 0x80]).toEqual([0x82, 0x80]);
  });

  test("closes with a code and a short reason, or with none", () => {
    expect(closePayload(1005, "x")).toHaveLength(0);
    expect(closePayload(1000, "x".repeat(200))).toHaveLength(125);
    expect(MESSAGE_BYTES).toBeGreaterThan(1_000_000);
  });
});

function hexOf(said: Said): string {
  return "bytes" in said ? Buffer.from(said.bytes).toString("hex") : "";
}
