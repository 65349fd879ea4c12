import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { type FakeClock, settled } from "../../support/fake-clock.ts";
import { functionOf, PoolsUnderTest } from "./fake-instances.ts";

/** The durations of an engine and a function, in milliseconds. */
interface Times {
  /** From the decision to start an instance until it is ready. */
  readonly refill: number;
  readonly run: number;
}

/** The result of a trace of calls. */
interface Report {
  readonly cold: number;
  readonly warm: number;
  /** The mean time that calls of the last third waited for an instance, in milliseconds. */
  readonly lateWait: number;
  /** The most calls that were present at once. */
  readonly peak: number;
}

const INSTANCES = 30;
const times: fc.Arbitrary<Times> = fc.record({
  refill: fc.integer({ min: 100, max: 1_000 }),
  run: fc.integer({ min: 5, max: 2_000 }),
});

/** A pool whose engine takes its time, and calls that come at given moments. */
class Trace {
  readonly under = new PoolsUnderTest({ instances: INSTANCES, starts_at_once: 20 });
  readonly #fn: Function;
  readonly #times: Times;
  readonly #launched = new WeakSet<object>();

  constructor(fn: Function, { refill, run }: Times) {
    this.#fn = fn;
    this.#times = { refill, run };
  }

  get clock(): FakeClock {
    return this.under.clock;
  }

  /** Lets this many milliseconds pass; starts that have taken long enough succeed. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    while (this.clock.monotonic() < end) {
      this.#watchLaunches();
      await this.clock.advance(Math.min(10, end - this.clock.monotonic()));
      this.check();
    }
  }

  /** Registers the function, and calls it at these times, counted from the registration. */
  async play(arrivals: readonly number[]): Promise<Report> {
    const { under, clock } = this;
    under.pools.update(this.#fn);
    const waits: number[] = [];
    const counts = { cold: 0, warm: 0, peak: 0 };
    let [present, over] = [0, 0];
    const begin = clock.monotonic();
    for (const at of arrivals) {
      await this.pass(begin + at - clock.monotonic());
      counts.peak = Math.max(counts.peak, ++present);
      const asked = clock.monotonic();
      const call = this.#call((start) => {
        counts[start]++;
        waits.push(clock.monotonic() - asked);
      });
      void call.then(() => (present--, over++));
      await settled();
    }
    while (over < arrivals.length) await this.pass(100);
    const late = waits.slice(-arrivals.length / 3);
    return { ...counts, lateWait: late.reduce((sum, ms) => sum + ms, 0) / late.length };
  }

  check(): void {
    const { under } = this;
    const { ready, starting, busy, target } = under.stateOf(this.#fn.id);
    for (const count of [ready, starting, busy]) expect(count).toBeGreaterThanOrEqual(0);
    expect(ready + starting + busy).toBeLessThanOrEqual(INSTANCES);
    expect(under.capacity.instances).toBeLessThanOrEqual(INSTANCES);
    expect(target).toBeWithin(this.#fn.warm_min, this.#fn.warm_max + 1);
    // Surplus instances that were started for calls are retired at the next look; the pool never keeps more than that.
    expect(ready).toBeLessThanOrEqual(this.#fn.warm_max);
  }

  async #call(onStart: (start: "cold" | "warm") => void): Promise<void> {
    const { instance, start, leave } = await this.under.acquire(this.#fn);
    onStart(start);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.clock.after(this.#times.run, resolve);
    await promise;
    leave();
    if (this.#fn.max_calls === 1) instance.retire();
    else this.under.pools.giveBack(instance);
  }

  #watchLaunches(): void {
    for (const launch of this.under.launching) {
      if (this.#launched.has(launch)) continue;
      this.#launched.add(launch);
      this.clock.after(this.#times.refill, () => void launch.succeed());
    }
  }
}

function every(ms: number, from: number, to: number): number[] {
  return Array.from({ length: Math.floor((to - from) / ms) }, (_, index) => from + index * ms);
}

const kept = functionOf("a", { warm_max: 20 });

describe("Pools under a trace of calls", () => {
  test("that is steady have an instance ready for every call, and no more than needed", async () => {
    await fc.assert(
      fc.asyncProperty(times, fc.integer({ min: 250, max: 2_000 }), async (how, gap) => {
        const trace = new Trace(kept, how);
        using under = trace.under;
        const { lateWait, peak } = await trace.play(every(gap, 2_000, 32_000));
        expect(lateWait).toBe(0);
        // The rate is known to a fifth of a call a second, and a start is seen up to 20 ms late.
        const replaced = Math.ceil(((1000 / gap + 0.2) * (how.refill + 30)) / 1000);
        expect(under.stateOf("a").target).toBeLessThanOrEqual(replaced + peak);
        await trace.pass(3_000);
        const { ready, starting, busy, target } = under.stateOf("a");
        expect([starting, busy]).toEqual([0, 0]);
        // The target falls all the while, and is looked at once a second.
        expect(ready).toBeWithin(target, target + 2);
      }),
      { numRuns: 15 },
    );
  });

  test("that is a burst serve all of it, are ready for another, and forget it in a minute", async () => {
    await fc.assert(
      fc.asyncProperty(times, fc.integer({ min: 2, max: 60 }), async (how, size) => {
        const trace = new Trace(kept, how);
        using under = trace.under;
        const first = await trace.play(Array.from({ length: size }, () => 2_000));
        expect([first.warm, first.cold, first.peak]).toEqual([1, size - 1, size]);
        await trace.pass(8_000);
        const again = await trace.play(Array.from({ length: Math.min(size, kept.warm_max) }, () => 0));
        expect(again).toMatchObject({ cold: 0, lateWait: 0 });
        await trace.pass(75_000);
        expect(under.stateOf("a")).toEqual({ ready: 1, starting: 0, busy: 0, target: 1 });
      }),
      { numRuns: 10 },
    );
  });

  test("that ends fall to warm_min after idle_ttl_ms, and are warm again after one cold call", async () => {
    await fc.assert(
      fc.asyncProperty(times, fc.constantFrom(0, 2), fc.constantFrom(1, 0, 3), async (how, warm_min, max_calls) => {
        const fn = functionOf("a", { warm_min, warm_max: 20, max_calls, idle_ttl_ms: 20_000 });
        const trace = new Trace(fn, how);
        using under = trace.under;
        await trace.play(every(700, 1_000, 10_000));
        await trace.pass(15_000);
        expect(under.stateOf("a").ready).toBeGreaterThan(warm_min === 0 ? 0 : 1);
        await trace.pass(8_000);
        expect(under.stateOf("a")).toEqual({ ready: warm_min, starting: 0, busy: 0, target: warm_min });
        const { cold } = await trace.play([30_000, 35_000, 40_000]);
        expect(cold).toBe(warm_min === 0 ? 1 : 0);
      }),
      { numRuns: 10 },
    );
  });

  test("that is a ramp follow it: calls hardly wait, and the target falls when it is over", async () => {
    const gaps = fc.constantFrom([1_000, 500, 250, 125], [2_000, 1_000, 300]);
    await fc.assert(
      fc.asyncProperty(times, gaps, async (how, steps) => {
        const trace = new Trace(kept, { ...how, run: Math.min(how.run, 500) });
        using under = trace.under;
        const arrivals = steps.flatMap((gap, index) => every(gap, 2_000 + index * 8_000, 2_000 + (index + 1) * 8_000));
        const { lateWait } = await trace.play(arrivals);
        // A call may come a moment before an instance is ready, again and again if calls are as regular as these.
        expect(lateWait).toBeLessThan(how.refill / 5);
        const { target } = under.stateOf("a");
        expect(target).toBeGreaterThan(1);
        await trace.pass(80_000);
        expect(under.stateOf("a")).toEqual({ ready: 1, starting: 0, busy: 0, target: 1 });
      }),
      { numRuns: 10 },
    );
  });
});
