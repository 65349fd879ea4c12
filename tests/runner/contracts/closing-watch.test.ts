import { expect, test } from "bun:test";
import fc from "fast-check";
import { ClosingWatch } from "../../../lib/runner/contracts/closing-watch.ts";

/** A frame of a server, with the shortest form of its length. */
function frame(opcode: number, length: number): Buffer {
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  // Every byte of the payload would be the head of a close frame.
  return Buffer.concat([head, Buffer.alloc(length, 0x88)]);
}

/** Says whether the watch has seen a close frame in these bytes, handed over in pieces of such lengths. */
function closes(bytes: Buffer, lengths: readonly number[]): boolean {
  const watch = new ClosingWatch();
  let at = 0;
  for (const length of lengths) watch.push(bytes.subarray(at, (at += length)));
  watch.push(bytes.subarray(at));
  return watch.closes;
}

const lengths = fc.constantFrom(0, 1, 125, 126, 300, 65_535, 65_536, 70_000);
const others = fc.array(fc.tuple(fc.constantFrom(0x0, 0x1, 0x2, 0x9, 0xa), lengths), { maxLength: 4 });
const pieces = fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 20 });

test("ClosingWatch sees a close frame behind any others, whatever the pieces", () => {
  fc.assert(
    fc.property(others, pieces, fc.constantFrom(0, 2, 125), (before, cuts, payload) => {
      const said = Buffer.concat(before.map(([opcode, length]) => frame(opcode, length)));
      expect(closes(said, cuts)).toBe(false);
      expect(closes(Buffer.concat([said, frame(0x8, payload)]), cuts)).toBe(true);
    }),
    { numRuns: 200 },
  );
});
