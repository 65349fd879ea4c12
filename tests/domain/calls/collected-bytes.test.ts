import { expect, test } from "bun:test";
import fc from "fast-check";
import { CollectedBytes, GatheredPieces } from "../../../lib/domain/calls/collected-bytes.ts";

test("CollectedBytes has all that came, whatever the pieces were and are now", () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 30 });
  fc.assert(
    fc.property(pieces, pieces, (first, second) => {
      const bytes = new CollectedBytes();
      const taken = [first, second].map((some) => {
        for (const piece of some) {
          const sent = piece.slice();
          bytes.add(sent);
          sent.fill(0);
        }
        expect(bytes.length).toBe(Buffer.concat(some).length);
        return bytes.take();
      });
      expect(taken).toEqual([Buffer.concat(first), Buffer.concat(second)]);
      expect(bytes.length).toBe(0);
    }),
  );
});

test("GatheredPieces has all that came, in order, whatever the pieces were", () => {
  const piece = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 3_000, max: 70_000 }));
  const pieces = fc.array(piece, { maxLength: 30 });
  fc.assert(
    fc.property(pieces, pieces, (first, second) => {
      const gathered = new GatheredPieces();
      for (const some of [first, second]) {
        const sent = some.map((one, index) => (typeof one === "number" ? Buffer.alloc(one, index) : one));
        for (const one of sent) gathered.add(one);
        const all = Buffer.concat(sent);
        expect(gathered.length).toBe(all.length);
        expect(all.equals(Buffer.concat(gathered.take()))).toBe(true);
      }
      expect(gathered.take()).toEqual([]);
    }),
    { numRuns: 50 },
  );
});

test("GatheredPieces gathers short pieces, and keeps long ones as they are", () => {
  const gathered = new GatheredPieces();
  const long = Buffer.alloc(4_096);
  const singles = () => {
    for (let i = 0; i < 200_000; i++) gathered.add(Uint8Array.of(i));
  };
  singles();
  gathered.add(long);
  singles();
  const taken = gathered.take();
  expect(taken.indexOf(long)).toBe(4);
  expect(taken).toHaveLength(9);
  expect(taken.reduce((sum, one) => sum + one.buffer.byteLength, 0)).toBeLessThan(2 * 200_000 * 1.4);
});
