import { describe, expect, test } from "bun:test";
import { administrator } from "../../../lib/domain/keys.ts";
import { createAccessCheck } from "../../../lib/http/access/access.ts";
import { KeyGuesses } from "../../../lib/http/access/key-guesses.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const ADDRESS = "203.0.113.9";

function setUp() {
  const clock = new FakeClock();
  const guesses = new KeyGuesses(clock);
  return { clock, guesses, fail: (times: number) => Array.from({ length: times }, () => guesses.failed(ADDRESS)) };
}

describe("KeyGuesses", () => {
  test("accepts five wrong keys, then makes an address wait, longer each time it does not", () => {
    const { fail } = setUp();
    expect(fail(5)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(fail(4)).toEqual([24, 36, 48, 60]);
  });

  test("accepts one more after the wait it named, and not before", async () => {
    const { fail, clock } = setUp();
    fail(6);
    await clock.advance(24_000);
    expect(fail(1)).toEqual([undefined]);
    await clock.advance(11_000);
    expect(fail(1)).toEqual([13]);
  });

  test("forgives all of them within a minute", async () => {
    const { fail, clock } = setUp();
    fail(5);
    await clock.advance(60_000);
    expect(fail(6)).toEqual([undefined, undefined, undefined, undefined, undefined, 24]);
  });

  test("makes no address wait longer than a quarter of an hour", async () => {
    const { fail, clock } = setUp();
    expect(fail(1_000).at(-1)).toBe(900);
    await clock.advance(900_000);
    expect(fail(1)).toEqual([undefined]);
  });

  test("counts every address separately", () => {
    const { fail, guesses } = setUp();
    fail(6);
    expect(guesses.failed("203.0.113.10")).toBeUndefined();
    expect(guesses.failed(`::ffff:${ADDRESS}`)).toBe(36);
  });

  test("of several servers each accepts its share, and makes an address wait no longer than one would", async () => {
    const clock = new FakeClock();
    const guesses = new KeyGuesses(clock, () => 5);
    expect(guesses.failed(ADDRESS)).toBeUndefined();
    expect(guesses.failed(ADDRESS)).toBe(120);
    await clock.advance(120_000);
    expect(guesses.failed(ADDRESS)).toBeUndefined();
    for (let i = 0; i < 1_000; i++) guesses.failed(ADDRESS);
    expect(guesses.failed(ADDRESS)).toBe(900);
  });

  test("ignores changes of the system time", () => {
    const { fail, clock } = setUp();
    fail(6);
    clock.jump(3_600_000);
    expect(fail(1)).toEqual([36]);
  });

  test("remembers the last 10,000 addresses that sent a wrong key", () => {
    const { fail, guesses } = setUp();
    fail(6);
    for (let i = 0; i < 9_999; i++) guesses.failed(`10.0.${i >> 8}.${i & 255}`);
    expect(guesses.size).toBe(10_000);
    expect(fail(1)).toEqual([36]);
    for (let i = 0; i < 10_000; i++) guesses.failed(`10.1.${i >> 8}.${i & 255}`);
    expect(guesses.size).toBe(10_000);
    expect(fail(1)).toEqual([undefined]);
  });
});

test("a key that is unknown is looked for once more, and counts and is recorded only if it still is", async () => {
  const seen: string[] = [];
  const known = new Set<string>();
  const check = createAccessCheck({
    keys: {
      identify: (token) =>
        known.has(token) ? { caller: administrator("k") } : { refused: "wrong", message: "The API key is wrong" },
    },
    sessions: { identify: () => undefined },
    clientUsesTls: () => false,
    guesses: { failed: () => void seen.push("guess") },
    catchUp: async () => {
      seen.push("caught up");
      known.add("new");
    },
    key_required: true,
    loopback: false,
    allowed_hosts: [],
    clientAddress: () => null,
    audit: { refused: () => void seen.push("refused") },
    gateways: () => [],
  });
  const send = (token: string) =>
    check(new Request("http://localhost/", { headers: { Authorization: `Bearer ${token}` } }), null, { scopes: [] });
  expect(await send("new")).toEqual(administrator("k"));
  expect(seen).toEqual(["caught up"]);
  expect(send("new")).toEqual(administrator("k"));
  expect(seen).toEqual(["caught up"]);
  expect(async () => send("wrong")).toThrow("The API key is wrong");
  expect(seen).toEqual(["caught up", "caught up", "guess", "refused"]);
});
