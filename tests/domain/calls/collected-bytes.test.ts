import { expect, test } from "bun:test";
import fc from "fast-check";
import { CollectedBytes } from "../../../lib/domain/calls/collected-bytes.ts";

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
