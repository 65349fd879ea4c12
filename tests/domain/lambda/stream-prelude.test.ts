import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RESPONSE_HEAD_BYTES } from "../../../lib/domain/limits.ts";
import { StreamPrelude } from "../../../lib/domain/lambda/stream-prelude.ts";

const NULS = Buffer.alloc(8);

/** Gives a stream to a reader in pieces; returns what it reads, and all bytes behind the head. */
function readInPieces(stream: Uint8Array, cuts: readonly number[]) {
  const prelude = new StreamPrelude();
  const ends = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].toSorted((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, stream.length]) {
    const read = prelude.push(stream.subarray(start, end));
    start = end;
    if (read === undefined) continue;
    if ("problem" in read) return read;
    return { head: read.head, body: Buffer.concat([read.body, stream.subarray(end)]).toString("latin1") };
  }
  return prelude.close();
}

describe("StreamPrelude", () => {
  test("reads a head and leaves the body, wherever the stream is cut", () => {
    const property = fc.property(fc.uint8Array(), fc.array(fc.nat()), (body, cuts) => {
      const json = '{"statusCode":201,"headers":{"X":"y"},"cookies":["a=b"]}';
      const stream = Buffer.concat([Buffer.from(json), NULS, body]);
      expect(readInPieces(stream, cuts)).toEqual({
        head: {
          status: 201,
          headers: [
            ["x", "y"],
            ["set-cookie", "a=b"],
            ["content-type", "application/json"],
          ],
          dropped: [],
        },
        body: Buffer.from(body).toString("latin1"),
      });
    });
    fc.assert(property);
  });

  test("whatever comes, the result does not depend on the cuts", () => {
    const bytes = fc
      .array(fc.oneof(fc.constant(Buffer.from("{}")), fc.constant(NULS), fc.uint8Array({ maxLength: 9 })))
      .map((parts) => Buffer.concat(parts));
    const property = fc.property(bytes, fc.array(fc.nat()), (stream, cuts) => {
      expect(readInPieces(stream, cuts)).toEqual(readInPieces(stream, []));
    });
    fc.assert(property);
  });

  test("a head has 64 KiB at most", () => {
    const padded = (bytes: number) => Buffer.concat([Buffer.from("{}".padEnd(bytes)), NULS, Buffer.from("body")]);
    const problem = { problem: `begins with a head of over ${RESPONSE_HEAD_BYTES} bytes` };
    for (const cuts of [[], [RESPONSE_HEAD_BYTES - 1, RESPONSE_HEAD_BYTES + 3], [RESPONSE_HEAD_BYTES + 8]]) {
      expect(readInPieces(padded(RESPONSE_HEAD_BYTES), cuts)).toMatchObject({ head: { status: 200 }, body: "body" });
      expect(readInPieces(padded(RESPONSE_HEAD_BYTES + 1), cuts)).toEqual(problem);
    }
  });

  test("an endless head is refused as soon as it is too long", () => {
    const prelude = new StreamPrelude();
    const piece = Buffer.alloc(4096, " ");
    let given = 0;
    for (; prelude.push(piece) === undefined; given += piece.length)
      expect(given).toBeLessThan(2 * RESPONSE_HEAD_BYTES);
    expect(given).toBeLessThanOrEqual(RESPONSE_HEAD_BYTES + piece.length);
  });

  test("a stream that ends in its head is malformed", () => {
    expect(readInPieces(Buffer.from('{"statusCode":200}'), [])).toEqual({
      problem: "ends before the eight NUL bytes that must follow its head",
    });
  });
});
