import { expect, test } from "bun:test";
import fc from "fast-check";
import { Capacity, type Room } from "../../../lib/runner/pool/capacity.ts";

test("Capacity never exceeds its limits, and counts a size that is given back only once", () => {
  const limits = fc.record({ instances: fc.nat({ max: 8 }), memory_bytes: fc.nat({ max: 1_000 }) });
  const step = fc.oneof(
    fc.record({ take: fc.nat({ max: 400 }) }),
    fc.record({ give: fc.nat(), times: fc.integer({ min: 1, max: 3 }) }),
  );
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 100 }), (most, steps) => {
      const capacity = new Capacity(most);
      const held: { room: Room; bytes: number }[] = [];
      const used = () => held.reduce((sum, { bytes }) => sum + bytes, 0);
      for (const one of steps) {
        if ("take" in one) {
          const fits = held.length < most.instances && used() + one.take <= most.memory_bytes;
          expect(capacity.fits(one.take)).toBe(fits);
          const room = capacity.take(one.take);
          expect(room !== undefined).toBe(fits);
          if (room) held.push({ room, bytes: one.take });
          if (fits) expect(capacity.allows(one.take)).toBe(true);
        } else if (held.length > 0) {
          const [given] = held.splice(one.give % held.length, 1);
          for (let time = 0; time < one.times; time++) given?.room();
        }
        expect(capacity.instances).toBe(held.length);
        expect(held.length).toBeLessThanOrEqual(most.instances);
        expect(used()).toBeLessThanOrEqual(most.memory_bytes);
      }
    }),
  );
});

test("Capacity.fits can treat other instances as gone", () => {
  const capacity = new Capacity({ instances: 2, memory_bytes: 100 });
  capacity.take(60);
  expect(capacity.fits(50)).toBe(false);
  expect(capacity.fits(50, { instances: 1, memory_bytes: 60 })).toBe(true);
  capacity.take(40);
  expect(capacity.fits(40, { instances: 1, memory_bytes: 40 })).toBe(true);
  expect(capacity.fits(41, { instances: 1, memory_bytes: 40 })).toBe(false);
});

test("Capacity.allows a size that would fit if nothing else ran", () => {
  const capacity = new Capacity({ instances: 1, memory_bytes: 100 });
  capacity.take(100);
  expect(capacity.allows(100)).toBe(true);
  expect(capacity.allows(101)).toBe(false);
  expect(new Capacity({ instances: 0, memory_bytes: 100 }).allows(1)).toBe(false);
});
