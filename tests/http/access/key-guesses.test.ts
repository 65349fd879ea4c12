import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { KeyGuesses, clientOf } from "../../../lib/http/access/key-guesses.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const ADDRESS = "203.0.113.9";

function setUp() {
  const clock = new FakeClock();
  const attempts = new KeyGuesses(clock);
  return { clock, attempts, fail: (times: number) => Array.from({ length: times }, () => attempts.failed(ADDRESS)) };
}

describe("KeyGuesses", () => {
  test("takes five, then has an address wait, longer each time it does not", () => {
    const { fail } = setUp();
    expect(fail(5)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(fail(4)).toEqual([24, 36, 48, 60]);
  });

  test("takes one more after the time it named, and not before", async () => {
    const { fail, clock } = setUp();
    fail(6);
    await clock.advance(24_000);
    expect(fail(1)).toEqual([undefined]);
    await clock.advance(11_000);
    expect(fail(1)).toEqual([13]);
  });

  test("forgives all in a minute", async () => {
    const { fail, clock } = setUp();
    fail(5);
    await clock.advance(60_000);
    expect(fail(6)).toEqual([undefined, undefined, undefined, undefined, undefined, 24]);
  });

  test("has nobody wait longer than a quarter of an hour", async () => {
    const { fail, clock } = setUp();
    expect(fail(1_000).at(-1)).toBe(900);
    await clock.advance(900_000);
    expect(fail(1)).toEqual([undefined]);
  });

  test("counts every address by itself", () => {
    const { fail, attempts } = setUp();
    fail(6);
    expect(attempts.failed("203.0.113.10")).toBeUndefined();
    expect(attempts.failed(`::ffff:${ADDRESS}`)).toBe(36);
  });

  test("does not care for the time of day", () => {
    const { fail, clock } = setUp();
    fail(6);
    clock.jump(3_600_000);
    expect(fail(1)).toEqual([36]);
  });

  test("remembers 10,000 addresses, those that failed last", () => {
    const { fail, attempts } = setUp();
    fail(6);
    for (let i = 0; i < 9_999; i++) attempts.failed(`10.0.${i >> 8}.${i & 255}`);
    expect(attempts.size).toBe(10_000);
    expect(fail(1)).toEqual([36]);
    for (let i = 0; i < 10_000; i++) attempts.failed(`10.1.${i >> 8}.${i & 255}`);
    expect(attempts.size).toBe(10_000);
    expect(fail(1)).toEqual([undefined]);
  });
});

describe("clientOf", () => {
  test.each([
    ["203.0.113.9", "203.0.113.9"],
    ["::ffff:203.0.113.9", "203.0.113.9"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["1:2:3:4:5:6:7::", "1:2:3:4::/64"],
    ["::2:3:4:5:6:7:8", "0:2:3:4::/64"],
    ["", ""],
  ])("of %j is %j", (address, client) => {
    expect(clientOf(address)).toBe(client);
  });

  test("is the same for all of a network, and different for two", () => {
    const prefix = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 1, max: 0xffff })));
    const text = (groups: readonly number[]) => groups.map((group) => group.toString(16)).join(":");
    fc.assert(
      fc.property(prefix, prefix, fc.ipV6(), (one, other, host) => {
        fc.pre(!host.includes("."));
        expect(clientOf(`${text(one)}::1`)).toBe(clientOf(`${text(one)}:1:2:3:4`));
        expect(clientOf(`${text(one)}::1`) === clientOf(`${text(other)}::1`)).toBe(text(one) === text(other));
        expect(clientOf(host)).toEndWith("::/64");
      }),
    );
  });
});
