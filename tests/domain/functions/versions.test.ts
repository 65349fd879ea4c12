import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUNCTION_DEFAULTS, type Function } from "../../../lib/domain/functions/functions.ts";
import { SETTINGS } from "../../../lib/domain/functions/settings.ts";
import { numbered, parseVersionQuery } from "../../../lib/domain/functions/versions.ts";
import { checkDirections, namedVersions, versionOf } from "../../../lib/domain/routes/version-choice.ts";

const AT = "2026-01-31T12:00:00.000Z";
const fn: Function = {
  ...FUNCTION_DEFAULTS,
  id: "f1",
  name: "one",
  image: "busybox:1",
  image_id: "sha256:1",
  digest: null,
  version: 3,
  environment: { A: "1", B: "2" },
  created_at: AT,
  updated_at: AT,
};

describe("numbered", () => {
  test.each<Partial<Function>>([
    { image: "busybox:2" },
    { image_id: "sha256:2" },
    { digest: "busybox@sha256:1" },
    { environment: {} },
    { secrets: [{ name: "password", environment: null }] },
    { timeout_ms: 7 },
    { labels: { team: "checkout" } },
    { warm_min: 1 },
    { entrypoint: [] },
  ])("returns the next number if %j changes", (change) => {
    expect(numbered(fn, { ...fn, ...change })).toEqual({ ...fn, ...change, version: 4 });
  });

  test.each<Partial<Function>>([
    {},
    { name: "other" },
    { name: null },
    { updated_at: "2027-01-31T12:00:00.000Z" },
    { environment: { B: "2", A: "1" } },
  ])("keeps the number if %j changes", (change) => {
    expect(numbered(fn, { ...fn, ...change }).version).toBe(3);
  });

  test("counts a formerly unknown image as the same version", () => {
    const before = { ...fn, image_id: null };
    const resolved = { ...before, image_id: "sha256:1", digest: "busybox@sha256:1" };
    expect(numbered(before, resolved)).toEqual(resolved);
    expect(numbered(before, { ...resolved, timeout_ms: 7 }).version).toBe(4);
  });

  test("compares every setting", () => {
    for (const name of Object.keys(SETTINGS))
      expect([name, numbered(fn, { ...fn, [name]: Symbol("other") }).version]).toEqual([name, 4]);
  });
});

const route = (percent: number, sticky_header: string | null = null) => ({
  id: "r1",
  version: 1,
  split: { version: 2, percent, sticky_header },
});

describe("versionOf", () => {
  test("is the route's own version, or null, without a split", () => {
    expect(versionOf({ id: "r1", version: 7, split: null }, "x")).toBe(7);
    expect(versionOf({ id: "r1", version: null, split: null }, "x")).toBeNull();
    expect(versionOf({ ...route(0), version: null }, "x")).toBeNull();
    expect(versionOf({ ...route(100), version: null }, "x")).toBe(2);
  });

  test("has the same outcome for the same ticket, always one of the two", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.nat(100), (ticket, percent) => {
        const version = versionOf(route(percent), ticket);
        expect([1, 2]).toContain(Number(version));
        expect(versionOf(route(percent, "x-user"), ticket)).toBe(version);
        if (percent === 0) expect(version).toBe(1);
        if (percent === 100) expect(version).toBe(2);
      }),
    );
  });

  test("moves no ticket back when the percentage grows", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(100), fc.nat(100), (ticket, one, other) => {
        const [less, more] = [Math.min(one, other), Math.max(one, other)];
        if (versionOf(route(less), ticket) === 2) expect(versionOf(route(more), ticket)).toBe(2);
      }),
    );
  });

  test("keeps the percentage for tickets of any kind", () => {
    const kinds = [
      (i: number) => `user-${i}`,
      (i: number) => String(i),
      (i: number) => Bun.hash(String(i)).toString(16),
    ];
    const count = 20_000;
    fc.assert(
      fc.property(fc.uuid(), fc.nat(100), fc.constantFrom(...kinds), (id, percent, ticket) => {
        let other = 0;
        for (let i = 0; i < count; i++) if (versionOf({ ...route(percent), id }, ticket(i)) === 2) other++;
        const expected = (count * percent) / 100;
        // Six standard deviations: once in a billion.
        const allowed = 6 * Math.sqrt((count * percent * (100 - percent)) / 10_000);
        expect(Math.abs(other - expected)).toBeLessThanOrEqual(allowed);
      }),
      { numRuns: 30 },
    );
  });

  test("draws anew on each route: the same users are not always the first", () => {
    const first = (id: string) =>
      new Set(Array.from({ length: 10_000 }, (_, i) => i).filter((i) => versionOf({ ...route(10), id }, `${i}`) === 2));
    const [one, other] = [first("r1"), first("r2")];
    const both = one.intersection(other).size;
    // A tenth of a tenth of 10,000 is 100.
    expect(both).toBeWithin(40, 160);
  });
});

test("namedVersions returns the versions of the route and of its split", () => {
  expect(namedVersions({ version: null, split: null })).toEqual([]);
  expect(namedVersions({ version: 4, split: null })).toEqual([4]);
  expect(namedVersions(route(5))).toEqual([1, 2]);
  expect(namedVersions({ ...route(5), version: null })).toEqual([2]);
});

test("checkDirections refuses a split between a version and itself", () => {
  expect(() => checkDirections({ ...route(5), version: 2 })).toThrow(
    'Invalid "split": its "version" is 2, as is the route\'s own: name another, or null for no split',
  );
  checkDirections(route(5));
  checkDirections({ version: 2, split: null });
});

describe("parseVersionQuery", () => {
  test.each([
    [{}, { below: Number.MAX_SAFE_INTEGER, limit: 50 }],
    [
      { cursor: "12", limit: "500" },
      { below: 12, limit: 500 },
    ],
  ])("reads %j", (query, expected) => expect(parseVersionQuery(query)).toEqual(expected));

  test.each([
    [{ limit: "0" }, 'Invalid "limit" "0": give a whole number from 1 to 500'],
    [{ limit: "501" }, 'Invalid "limit" "501": give a whole number from 1 to 500'],
    [{ limit: "" }, 'Invalid "limit" "": give a whole number from 1 to 500'],
    [{ cursor: "x" }, 'Invalid "cursor" "x": give the "next_cursor" of the page before'],
    [{ cursor: "-1" }, 'Invalid "cursor" "-1": give the "next_cursor" of the page before'],
  ])("refuses %j", (query, message) => expect(() => parseVersionQuery(query)).toThrow(message));
});
