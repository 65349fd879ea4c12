import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type BucketSize, TokenBuckets } from "../../../lib/http/access/token-buckets.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const SIZE: BucketSize = { tokens: 4, window_ms: 8_000 };

function setUp(max = 100) {
  const clock = new FakeClock();
  return { clock, buckets: new TokenBuckets({ clock, max }) };
}

describe("TokenBuckets", () => {
  test("a bucket starts full, empties, and fills evenly, never beyond its size", async () => {
    const { clock, buckets } = setUp();
    expect(buckets.left("a", SIZE)).toBe(4);
    expect([1, 2, 3, 4, 5].map(() => buckets.spend("a", SIZE))).toEqual([3, 2, 1, 0, 0]);
    await clock.advance(1_000);
    expect(buckets.left("a", SIZE)).toBe(0.5);
    await clock.advance(3_000);
    expect(buckets.left("a", SIZE)).toBe(2);
    await clock.advance(60_000);
    expect(buckets.left("a", SIZE)).toBe(4);
  });

  test("a debt grows as deep as allowed", async () => {
    const { clock, buckets } = setUp();
    const left = Array.from({ length: 9 }, () => buckets.spend("a", SIZE, -2));
    expect(left).toEqual([3, 2, 1, 0, -1, -2, -2, -2, -2]);
    await clock.advance(12_000);
    expect(buckets.left("a", SIZE)).toBe(4);
  });

  test("spent tokens still count when the size changes", () => {
    const { buckets } = setUp();
    for (let i = 0; i < 3; i++) buckets.spend("a", SIZE);
    expect(buckets.left("a", { tokens: 100, window_ms: 8_000 })).toBe(97);
    expect(buckets.left("a", { tokens: 2, window_ms: 8_000 })).toBe(-1);
    expect(buckets.spend("a", { tokens: 2, window_ms: 8_000 })).toBe(0);
    expect(buckets.left("a", SIZE)).toBe(2);
  });

  test("full buckets are forgotten, two for each new one", async () => {
    const { clock, buckets } = setUp();
    for (let i = 0; i < 10; i++) buckets.spend(`${i}`, SIZE);
    expect(buckets.size).toBe(10);
    await clock.advance(1_999);
    buckets.spend("one", SIZE);
    expect(buckets.size).toBe(11);
    await clock.advance(1);
    for (let i = 0; i < 5; i++) buckets.spend("one", SIZE);
    expect(buckets.size).toBe(1);
  });

  test("beyond the limit the least recently used bucket is forgotten", () => {
    const { buckets } = setUp(3);
    for (const key of ["a", "b", "c", "a", "d"]) buckets.spend(key, SIZE);
    expect(["a", "b", "c", "d"].map((key) => buckets.left(key, SIZE))).toEqual([2, 4, 3, 3]);
    expect(buckets.size).toBe(3);
  });

  test("no client gets more than a full bucket plus the tokens that came back meanwhile, even if the system time jumps", async () => {
    const size = fc.record({
      tokens: fc.integer({ min: 1, max: 50 }),
      window_ms: fc.integer({ min: 1_000, max: 100_000 }),
    });
    const step = fc.record({
      wait: fc.integer({ min: 0, max: 20_000 }),
      tries: fc.integer({ min: 0, max: 60 }),
      jump: fc.integer({ min: -86_400_000, max: 86_400_000 }),
    });
    await fc.assert(
      fc.asyncProperty(size, fc.array(step, { maxLength: 12 }), async (bucket, steps) => {
        const { clock, buckets } = setUp();
        const taken: number[] = [];
        for (const { wait, tries, jump } of steps) {
          const before = buckets.left("a", bucket);
          clock.jump(jump);
          expect(buckets.left("a", bucket)).toBe(before);
          await clock.advance(wait);
          const after = buckets.left("a", bucket);
          expect(after).toBeWithin(before, bucket.tokens + 1e-9);
          for (let i = 0; i < tries; i++) {
            if (buckets.left("a", bucket) < 1) continue;
            buckets.spend("a", bucket);
            taken.push(clock.monotonic());
          }
        }
        for (const [first, from] of taken.entries()) {
          for (const [last, to] of taken.entries()) {
            if (last < first) continue;
            const most = bucket.tokens + ((to - from) * bucket.tokens) / bucket.window_ms;
            expect(last - first + 1).toBeLessThanOrEqual(most + 1e-6);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});
