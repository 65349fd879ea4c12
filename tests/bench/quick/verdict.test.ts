import { describe, expect, test } from "bun:test";
import { judge } from "./verdict.ts";

const BASE = [100, 102, 98, 101, 99, 100, 103];

describe("judge", () => {
  test("finds no difference between two sides that are equal but for noise", () => {
    expect(judge(BASE, BASE.toReversed(), false).worse).toBe(false);
    expect(judge(BASE, BASE.toReversed(), true).worse).toBe(false);
  });

  test.each([
    [1.1, false, true],
    [1.1, true, false],
    [0.9, false, false],
    [0.9, true, true],
    // Clear, but too small to count.
    [1.03, false, false],
  ])("a tree of %p times the base, more being better: %p, is worse: %p", (factor, higher, worse) => {
    const verdict = judge(
      BASE,
      BASE.map((value) => value * factor),
      higher,
    );
    expect(verdict.worse).toBe(worse);
    expect(verdict.median).toBeCloseTo(factor, 10);
  });

  test("leaves a difference alone that is within the noise of the rounds", () => {
    const tree = [180, 70, 160, 66, 150, 108, 75];
    expect(judge(BASE, tree, false)).toMatchObject({ median: 1.08, worse: false });
  });

  test("a tree that answers nothing is worse, and so is no base that does not", () => {
    expect(judge(BASE, [0, 0, 0, 0, 0, 0, 0], true).worse).toBe(true);
    expect(judge([0, 0, 0], [0, 0, 0], true)).toEqual({ median: 1, min: 1, max: 1, worse: false });
    expect(judge([0, 0, 0], [9, 9, 9], true).worse).toBe(false);
  });

  test("one round that was disturbed says nothing", () => {
    expect(
      judge(
        BASE,
        [...BASE.slice(1), 500].map((value) => value * 0.99),
        false,
      ).worse,
    ).toBe(false);
    const slower = BASE.map((value) => value * 1.2);
    expect(judge(BASE, slower.with(3, 50), false).worse).toBe(true);
  });
});
