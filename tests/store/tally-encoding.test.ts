import { expect, test } from "bun:test";
import fc from "fast-check";
import { ENDS, Tally, TIMES } from "../../lib/domain/stats/tally.ts";
import { REASONS } from "../../lib/domain/errors.ts";
import { decodeTally, encodeTally } from "../../lib/store/tally-encoding.ts";
import { someInvocation } from "./sqlite/support/stores.ts";

const ms = fc.option(fc.integer({ min: 0, max: 90_000_000_000 }).map((us) => us / 1000));
const calls = fc.array(
  fc.record({
    status: fc.constantFrom(...ENDS),
    reason: fc.option(fc.constantFrom(...REASONS)),
    start: fc.option(fc.constantFrom("cold" as const, "warm" as const)),
    queue_ms: ms,
    start_ms: ms,
    boot_ms: ms,
    run_ms: ms,
    request_bytes: fc.nat(),
    response_bytes: fc.option(fc.maxSafeNat().map((bytes) => Math.floor(bytes / 1000))),
  }),
  { maxLength: 50 },
);

function contentOf(tally: Tally) {
  const { ends, counters, reasons, times } = tally;
  return { ends, counters, reasons: new Map(reasons), times: TIMES.map((name) => new Map(times[name].counts)) };
}

test("decodeTally returns what encodeTally was given", () => {
  fc.assert(
    fc.property(calls, (some) => {
      const tally = new Tally();
      for (const call of some) tally.add(call);
      expect(contentOf(decodeTally(encodeTally(tally)))).toEqual(contentOf(tally));
    }),
  );
});

test("encodeTally takes some 40 bytes for a call, and some hundred for a thousand of one function", () => {
  const tally = new Tally();
  tally.add(someInvocation("a"));
  expect(encodeTally(tally).length).toBeLessThan(50);
  for (let i = 0; i < 1000; i++) tally.add(someInvocation("b", { run_ms: 5 + (i % 100) / 50 }));
  expect(encodeTally(tally).length).toBeLessThan(150);
});

test("decodeTally refuses what it does not know", () => {
  expect(() => decodeTally(Uint8Array.of(2, 0))).toThrow("the unknown format 2");
  expect(() => decodeTally(encodeTally(new Tally()).subarray(0, 5))).toThrow("end too early");
});
