import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { RateLimit } from "../../../lib/domain/routes/options.ts";
import { beyondLimit, RateLimits, setRateLimit } from "../../../lib/http/calls/rate-limits.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const LIMIT: RateLimit = { requests: 3, window_ms: 6_000, by: "address" };

function setUp() {
  const clock = new FakeClock();
  const rates = new RateLimits(clock);
  const count = (caller = "a", rate_limit = LIMIT, id = "r1") => rates.count({ id, rate_limit }, caller);
  const said = (...given: Parameters<typeof count>) => {
    const headers = new Headers();
    const standing = count(...given);
    setRateLimit(headers, standing);
    return [standing.within, headers.get("ratelimit"), headers.get("ratelimit-policy")];
  };
  return { clock, count, said };
}

describe("RateLimits", () => {
  test("accepts a burst, then one request whenever a token comes back, and says so", async () => {
    const { clock, said } = setUp();
    const policy = '"default";q=3;w=6';
    expect(said()).toEqual([true, '"default";r=2;t=2', policy]);
    expect(said()).toEqual([true, '"default";r=1;t=2', policy]);
    expect(said()).toEqual([true, '"default";r=0;t=2', policy]);
    expect(said()).toEqual([false, '"default";r=0;t=2', policy]);
    await clock.advance(1_500);
    expect(said()).toEqual([false, '"default";r=0;t=1', policy]);
    await clock.advance(500);
    expect(said()).toEqual([true, '"default";r=0;t=2', policy]);
    await clock.advance(60_000);
    expect(said()).toEqual([true, '"default";r=2;t=2', policy]);
  });

  test("counts callers and routes separately", () => {
    const { count } = setUp();
    for (let i = 0; i < 4; i++) count();
    expect(count().within).toBe(false);
    expect(count("b").left).toBe(2);
    expect(count("a", LIMIT, "r2").left).toBe(2);
  });

  test("a changed limit applies from the next request on", () => {
    const { count } = setUp();
    for (let i = 0; i < 4; i++) count();
    expect(count("a", { ...LIMIT, requests: 10 }).left).toBe(6);
    expect(count("a", { ...LIMIT, requests: 2 }).within).toBe(false);
  });

  test("of several servers each accepts its share, one request at least, and names the whole limit", async () => {
    const clock = new FakeClock();
    let servers = 3;
    const rates = new RateLimits(clock, () => servers);
    const within = (rate_limit: RateLimit) => rates.count({ id: "r1", rate_limit }, "a").within;
    const passing = (limit: RateLimit, tries: number) =>
      Array.from({ length: tries }, () => within(limit)).filter(Boolean);
    const limit: RateLimit = { requests: 30, window_ms: 1_000, by: "address" };
    expect(passing(limit, 90)).toHaveLength(10);
    await clock.advance(1_000);
    expect(passing(limit, 90)).toHaveLength(10);
    // The others have gone.
    servers = 1;
    await clock.advance(1_000);
    expect(passing(limit, 90)).toHaveLength(30);
    const headers = new Headers();
    setRateLimit(headers, rates.count({ id: "r1", rate_limit: limit }, "b"));
    expect(headers.get("ratelimit-policy")).toBe('"default";q=30;w=1');
    // Less than a whole request a second for each of them.
    servers = 4;
    const small: RateLimit = { requests: 1, window_ms: 1_000, by: "key" };
    expect(rates.count({ id: "r2", rate_limit: small }, "a").within).toBe(true);
    const { within: again, wait_s } = rates.count({ id: "r2", rate_limit: small }, "a");
    expect([again, wait_s]).toEqual([false, 4]);
    await clock.advance(4_000);
    expect(rates.count({ id: "r2", rate_limit: small }, "a").within).toBe(true);
  });

  test("the error names the limit and when to try again", () => {
    const { count } = setUp();
    for (let i = 0; i < 3; i++) count();
    expect(beyondLimit(count())).toMatchObject({
      reason: "too_many_requests",
      message: "Too many requests: this route accepts 3 in 6 s from each address, try again in 2 s",
      retry_after_s: 2,
    });
  });

  test("a caller that waits as long as the answer says is accepted, whatever the limit", async () => {
    const limit = fc.record({
      requests: fc.integer({ min: 1, max: 1_000_000 }),
      window_ms: fc.integer({ min: 1_000, max: 86_400_000 }),
      by: fc.constant("address" as const),
    });
    const waits = fc.array(fc.double({ min: 0, max: 5_000, noNaN: true }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(limit, waits, async (rate_limit, before) => {
        const { clock, count } = setUp();
        let standing = count("a", rate_limit);
        for (const ms of before) {
          await clock.advance(ms);
          standing = count("a", rate_limit);
        }
        for (let i = 0; standing.within && i < 200; i++) standing = count("a", rate_limit);
        if (standing.within) return;
        expect(standing.wait_s).toBeWithin(1, Math.ceil(rate_limit.window_ms / rate_limit.requests / 1_000) + 2);
        await clock.advance(standing.wait_s * 1_000);
        expect(count("a", rate_limit).within).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});
