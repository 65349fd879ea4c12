import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FunctionRotation } from "../../../lib/services/work/function-rotation.ts";

const everyone = () => true;

describe("FunctionRotation", () => {
  test("next: functions take turns", () => {
    const turns = new FunctionRotation();
    for (const id of ["a", "b", "c"]) turns.add(id, 0);
    const order = Array.from({ length: 6 }, () => {
      const id = turns.next(everyone) ?? "";
      turns.take(id);
      turns.add(id, 0);
      return id;
    });
    expect(order).toEqual(["a", "b", "c", "a", "b", "c"]);
  });

  test("next: every other turn goes to the highest priority, the others to the function that has waited longest", () => {
    const turns = new FunctionRotation();
    turns.add("low", 0);
    turns.add("lower", -1);
    turns.add("high", 9);
    const order = Array.from({ length: 8 }, () => {
      const id = turns.next(everyone) ?? "";
      const priority = turns.take(id);
      expect(priority).toBe({ low: 0, lower: -1, high: 9 }[id] ?? Number.NaN);
      turns.add(id, priority);
      return id;
    });
    expect(order).toEqual(["high", "low", "high", "lower", "high", "low", "high", "lower"]);
  });

  test("next: skips functions that may not run, and drops those without work", () => {
    const turns = new FunctionRotation();
    turns.add("a", 1);
    turns.add("b", 0);
    expect(turns.next((id) => id !== "a")).toBe("b");
    expect(turns.next(() => false)).toBeUndefined();
    turns.take("a");
    turns.take("b");
    expect(turns.size).toBe(0);
  });

  test("no function waits longer than twice as many turns as there are functions", () => {
    const priorities = fc.array(fc.integer({ min: -100, max: 100 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(priorities, (given) => {
        const turns = new FunctionRotation();
        given.forEach((priority, index) => turns.add(String(index), priority));
        const waited = given.map(() => 0);
        for (let turn = 0; turn < 200; turn++) {
          const id = Number(turns.next(everyone));
          turns.add(String(id), turns.take(String(id)));
          waited.forEach((count, index) => (waited[index] = index === id ? 0 : count + 1));
          expect(Math.max(...waited)).toBeLessThanOrEqual(2 * given.length);
        }
      }),
    );
  });
});
