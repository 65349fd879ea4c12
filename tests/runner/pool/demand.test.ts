import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DemandMeter, targetOf, type WarmSettings } from "../../../lib/runner/pool/demand.ts";

const settings = { warm_min: 0, warm_max: 1_000, idle_ttl_ms: 300_000, max_calls: 1, concurrency: 1 };
const idle = { rate: 0, peak: 0, refill_ms: 500, idle_ms: 0 };

const anySettings: fc.Arbitrary<WarmSettings> = fc.record({
  warm_min: fc.nat({ max: 20 }),
  warm_max: fc.nat({ max: 20 }),
  idle_ttl_ms: fc.integer({ min: 1_000, max: 600_000 }),
  max_calls: fc.nat({ max: 10 }),
  concurrency: fc.integer({ min: 1, max: 64 }),
});
const anyDemand = fc.record({
  rate: fc.double({ min: 0, max: 10_000, noNaN: true }),
  peak: fc.nat({ max: 10_000 }),
  refill_ms: fc.double({ min: 0, max: 60_000, noNaN: true }),
  idle_ms: fc.double({ min: 0, max: 1_000_000, noNaN: true }),
});

describe("targetOf", () => {
  test.each([
    ["one for a function that was registered and never called", idle, settings, 1],
    ["none if none may be kept", { ...idle, rate: 9, peak: 9 }, { ...settings, warm_max: 0 }, 0],
    ["the configured minimum", idle, { ...settings, warm_min: 3 }, 3],
    ["the peak of concurrent calls", { ...idle, peak: 7 }, settings, 7],
    ["the calls during one refill, besides the peak", { ...idle, rate: 5, peak: 2 }, settings, 3 + 2],
    [
      "a fifth of the calls if each instance serves five",
      { ...idle, rate: 20, peak: 2 },
      { ...settings, max_calls: 5 },
      2 + 2,
    ],
    [
      "the peak alone if each instance serves forever",
      { ...idle, rate: 99, peak: 2 },
      { ...settings, max_calls: 0 },
      2,
    ],
    [
      "the instances that the peak needs, not its calls, if each serves 32 at once",
      { ...idle, rate: 99, peak: 33 },
      { ...settings, max_calls: 0, concurrency: 32 },
      2,
    ],
    ["no more than the configured maximum", { ...idle, rate: 99, peak: 99 }, { ...settings, warm_max: 10 }, 10],
    ["the configured minimum again without calls", { ...idle, rate: 9, peak: 9, idle_ms: 300_000 }, settings, 0],
  ])("is %s", (_, demand, bounds, target) => {
    expect(targetOf(demand, bounds)).toBe(target);
  });

  test("is a whole number from warm_min to warm_max, for any demand", () => {
    fc.assert(
      fc.property(anyDemand, anySettings, (demand, bounds) => {
        const target = targetOf(demand, bounds);
        expect(Number.isInteger(target)).toBe(true);
        expect(target).toBeWithin(Math.min(bounds.warm_min, bounds.warm_max), bounds.warm_max + 1);
        if (demand.idle_ms >= bounds.idle_ttl_ms) expect(target).toBe(Math.min(bounds.warm_min, bounds.warm_max));
      }),
    );
  });

  test("never falls when the demand rises", () => {
    fc.assert(
      fc.property(anyDemand, anySettings, fc.nat({ max: 50 }), (demand, bounds, more) => {
        const before = targetOf(demand, bounds);
        expect(targetOf({ ...demand, rate: demand.rate + more }, bounds)).toBeGreaterThanOrEqual(before);
        expect(targetOf({ ...demand, peak: demand.peak + more }, bounds)).toBeGreaterThanOrEqual(before);
        expect(targetOf({ ...demand, refill_ms: demand.refill_ms + more }, bounds)).toBeGreaterThanOrEqual(before);
      }),
    );
  });
});

/** Calls of one millisecond that come in a steady stream, `atOnce` of them at a time. */
function stream(meter: DemandMeter, from: number, to: number, everyMs: number, atOnce = 1): void {
  for (let now = from; now < to; now += everyMs) {
    for (let call = 0; call < atOnce; call++) meter.arrive(now);
    for (let call = 0; call < atOnce; call++) meter.leave(now + 1);
  }
}

function targetAt(meter: DemandMeter, now: number, bounds: WarmSettings = settings): number {
  return targetOf(meter.demand(now), bounds);
}

describe("DemandMeter", () => {
  test("converges to rate x refill time + peak under a steady stream", () => {
    const traces = fc.record({
      everyMs: fc.integer({ min: 20, max: 4_000 }),
      atOnce: fc.integer({ min: 1, max: 4 }),
      refillMs: fc.integer({ min: 100, max: 3_000 }),
      maxCalls: fc.integer({ min: 1, max: 5 }),
    });
    fc.assert(
      fc.property(traces, ({ everyMs, atOnce, refillMs, maxCalls }) => {
        const meter = new DemandMeter(0);
        for (let start = 0; start < 40; start++) meter.refilled(refillMs);
        stream(meter, 0, 120_000, everyMs, atOnce);
        // Just after a call the mean stands above the rate by at most that call's weight, just before by as much below.
        // Two calls in 10 s are not a rate.
        const used = (rate: number) => (rate <= 0.2 ? 0 : Math.ceil((rate * refillMs) / 1000 / maxCalls));
        const rate = (1000 / everyMs) * atOnce;
        const off = 0.1 * atOnce + 0.01;
        const target = targetAt(meter, 120_000, { ...settings, max_calls: maxCalls });
        expect(target).toBeWithin(used(rate - off - 0.1) + atOnce - 1, used(rate + off) + atOnce + 1);
      }),
      { numRuns: 50 },
    );
  });

  test("keeps one instance for a single call, however long a refill takes", () => {
    const meter = new DemandMeter(0);
    for (let start = 0; start < 40; start++) meter.refilled(5_000);
    for (let now = 0; now < 3_600_000; now += 60_000) {
      stream(meter, now, now + 1, 1);
      for (const later of [0, 1, 100, 1_000, 10_000, 59_999]) expect(targetAt(meter, now + later)).toBe(1);
    }
  });

  test("remembers a burst for a minute and no longer", () => {
    const meter = new DemandMeter(0);
    for (let call = 0; call < 200; call++) meter.arrive(5_000);
    for (let call = 0; call < 200; call++) meter.leave(6_000);
    expect(targetAt(meter, 6_000, { ...settings, warm_max: 10 })).toBe(10);
    expect(meter.demand(54_999).peak).toBe(200);
    expect(meter.demand(70_000)).toMatchObject({ peak: 0 });
    expect(targetAt(meter, 120_000)).toBe(1);
  });

  test("counts long calls for as long as they run", () => {
    const meter = new DemandMeter(0);
    for (let call = 0; call < 3; call++) meter.arrive(0);
    expect(meter.demand(900_000)).toMatchObject({ peak: 3, idle_ms: 0 });
    for (let call = 0; call < 3; call++) meter.leave(900_000);
    expect(meter.demand(900_500)).toMatchObject({ peak: 3, idle_ms: 500 });
  });

  test("falls to warm_min after idle_ttl_ms without a call, and not before", () => {
    const meter = new DemandMeter(0);
    const bounds = { ...settings, warm_min: 2, idle_ttl_ms: 10_000 };
    stream(meter, 0, 60_000, 100);
    const end = 59_901;
    expect(targetAt(meter, end + 9_999, bounds)).toBeGreaterThan(2);
    expect(targetAt(meter, end + 10_000, bounds)).toBe(2);
    expect(targetAt(meter, end + 10_000, { ...bounds, warm_min: 0 })).toBe(0);
  });

  test("keeps one instance ready for a registered or changed function, until idle_ttl_ms is over", () => {
    const meter = new DemandMeter(1_000);
    expect(targetAt(meter, 300_999)).toBe(1);
    expect(targetAt(meter, 301_000)).toBe(0);
    meter.touch(400_000);
    expect(targetAt(meter, 400_000)).toBe(1);
    expect(meter.lastCall).toBe(400_000);
  });

  test("follows a ramp up and down", () => {
    const meter = new DemandMeter(0);
    const targets: number[] = [];
    for (let second = 0; second < 60; second++) {
      stream(meter, second * 1000, (second + 1) * 1000, 1000 / (1 + second));
      targets.push(targetAt(meter, (second + 1) * 1000));
    }
    expect(targets).toEqual(targets.toSorted((a, b) => a - b));
    // 60 a second at the end, of which the mean of 10 s has seen about 50; half of that while one is replaced.
    expect(targets.at(-1)).toBeWithin(22, 32);
    const after = [70, 80, 90, 100, 110, 130].map((second) => targetAt(meter, second * 1000));
    expect(after).toEqual(after.toSorted((a, b) => b - a));
    expect(after.at(-1)).toBe(1);
  });

  test("learns how long a refill takes", () => {
    const meter = new DemandMeter(0);
    expect(meter.demand(0).refill_ms).toBe(500);
    for (let start = 0; start < 20; start++) meter.refilled(900);
    expect(meter.demand(0).refill_ms).toBeWithin(890, 901);
  });

  test("is never negative, for any events in any order", () => {
    const step = fc.oneof(
      fc.constant({ what: "arrive", ms: 0 }),
      fc.constant({ what: "leave", ms: 0 }),
      fc.record({ what: fc.constant("pass"), ms: fc.nat({ max: 100_000 }) }),
      fc.record({ what: fc.constant("refilled"), ms: fc.nat({ max: 10_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), anySettings, (trace, bounds) => {
        const meter = new DemandMeter(0);
        let now = 0;
        let inFlight = 0;
        for (const { what, ms } of trace) {
          if (what === "arrive") meter.arrive(now);
          else if (what === "leave") meter.leave(now);
          else if (what === "refilled") meter.refilled(ms);
          else now += ms;
          inFlight = what === "arrive" ? inFlight + 1 : what === "leave" ? Math.max(0, inFlight - 1) : inFlight;
          const demand = meter.demand(now);
          for (const value of Object.values(demand)) expect(value).toBeGreaterThanOrEqual(0);
          expect(demand.peak).toBeGreaterThanOrEqual(inFlight);
          expect(targetOf(demand, bounds)).toBeWithin(0, bounds.warm_max + 1);
        }
      }),
    );
  });
});
