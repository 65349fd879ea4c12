import { expect, test } from "bun:test";
import { systemClock } from "../lib/clock.ts";

const many = <T>(make: () => T): T[] => Array.from({ length: 100 }, make);

test("uuid: random in every part, since names of network interfaces have room for the first characters only", () => {
  const beginnings = many(() => systemClock.uuid().slice(0, 7));
  expect(new Set(beginnings).size).toBe(100);
});

test("invocationId: each comes after the one before it, and cannot be guessed from it", () => {
  const ids = many(() => systemClock.invocationId());
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids.map((id) => id.slice(-12))).size).toBe(100);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
