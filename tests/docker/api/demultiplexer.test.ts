import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Demultiplexer, type StreamPiece } from "../../../lib/docker/api/demultiplexer.ts";
import { processorTime } from "../../support/pace.ts";

const STREAMS = ["stdin", "stdout", "stderr"] as const;

function frame(stream: StreamPiece["stream"], bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(STREAMS.indexOf(stream), 0);
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

/** Returns the output for these chunks, with consecutive pieces of one stream joined. */
function demultiplex(chunks: readonly Uint8Array[]): [StreamPiece["stream"], string][] {
  const demultiplexer = new Demultiplexer();
  const joined: [StreamPiece["stream"], string][] = [];
  for (const chunk of chunks) {
    for (const { stream, bytes } of demultiplexer.push(chunk)) {
      const text = Buffer.from(bytes).toString("latin1");
      const last = joined.at(-1);
      if (last?.[0] === stream) last[1] += text;
      else joined.push([stream, text]);
    }
  }
  return joined;
}

const frames = fc.array(fc.tuple(fc.constantFrom(...STREAMS), fc.uint8Array({ minLength: 1, maxLength: 300 })), {
  maxLength: 12,
});

test("Demultiplexer returns what was sent, however it is split into chunks", () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 40 })), (sent, sizes) => {
      const whole = Buffer.concat(sent.map(([stream, bytes]) => frame(stream, bytes)));
      const chunks: Uint8Array[] = [];
      let at = 0;
      for (const size of [...sizes, whole.length]) chunks.push(whole.subarray(at, (at += size)));
      expect(demultiplex(chunks)).toEqual(demultiplex([whole]));
      const texts = demultiplex(chunks).map(([, text]) => text);
      expect(texts.join("")).toBe(Buffer.concat(sent.map(([, bytes]) => bytes)).toString("latin1"));
    }),
  );
});

test("Demultiplexer passes a payload on as it comes, whatever length its header claims", () => {
  const demultiplexer = new Demultiplexer();
  const head = Buffer.from([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
  const pieces = [head, Buffer.from("a"), Buffer.from("b")].flatMap((chunk) => [...demultiplexer.push(chunk)]);
  expect(pieces.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["a", "b"]);
});

test("Demultiplexer returns nothing for an empty frame", () => {
  expect(demultiplex([frame("stderr", Buffer.alloc(0)), frame("stdout", Buffer.from("x"))])).toEqual([["stdout", "x"]]);
});

test("Demultiplexer decodes 540 KB of one-byte frames in less than a second", () => {
  // docker-modem's own took 43 s for these and overflowed the stack.
  const whole = Buffer.concat(Array.from({ length: 60_000 }, () => frame("stdout", Buffer.of(65))));
  const used = processorTime();
  expect(demultiplex([whole])).toEqual([["stdout", "A".repeat(60_000)]]);
  expect(used()).toBeLessThan(1_000);
});

describe("Demultiplexer refuses", () => {
  test.each([
    ["an unknown stream", [3, 0, 0, 0, 0, 0, 0, 1]],
    ["a padding that is not zero", [1, 0, 1, 0, 0, 0, 0, 1]],
    ["text", [...Buffer.from("HTTP/1.1 ")]],
  ])("%s", (_, bytes) => {
    expect(() => demultiplex([Buffer.from(bytes)])).toThrow("malformed header");
  });
});
