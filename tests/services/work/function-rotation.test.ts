import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FunctionRotation } from "../../../lib/services/work/function-rotation.ts";

const everyone = () => Infinity;

/** Gives one turn, to a function that has as much work of the same priority left. */
function turn(rotation: FunctionRotation, priorities: Readonly<Record<string, number>>, room = everyone): string {
  const turns = rotation.next(1, room);
  if (turns === undefined) return "none";
  expect([turns.functions.length, turns.limit]).toEqual([1, 1]);
  const id = turns.functions[0]?.function_id ?? "";
  rotation.settle(turns, [id], [{ function_id: id, priority: priorities[id] ?? 0 }]);
  return id;
}

describe("FunctionRotation", () => {
  test("functions take turns", () => {
    const rotation = new FunctionRotation();
    for (const id of ["a", "b", "c"]) rotation.add(id, 0);
    expect(Array.from({ length: 6 }, () => turn(rotation, {}))).toEqual(["a", "b", "c", "a", "b", "c"]);
  });

  test("every other turn goes to the highest priority, the others to the function that has waited longest", () => {
    const rotation = new FunctionRotation();
    const priorities = { low: 0, lower: -1, high: 9 };
    for (const [id, priority] of Object.entries(priorities)) rotation.add(id, priority);
    const order = Array.from({ length: 8 }, () => turn(rotation, priorities));
    expect(order).toEqual(["high", "low", "high", "lower", "high", "low", "high", "lower"]);
  });

  test("next: skips functions without room, and offers each as much as it has room for or is known to have", () => {
    const rotation = new FunctionRotation();
    rotation.add("full", 1);
    rotation.add("narrow", 0);
    rotation.add("short", 0, 1);
    rotation.add("short", 0, 1);
    rotation.add("wide", 0);
    const room = (id: string) => ({ full: 0, narrow: 3, wide: 100 })[id] ?? Infinity;
    expect(rotation.next(20, room)).toEqual({
      functions: [
        { function_id: "narrow", most: 3 },
        { function_id: "short", most: 2 },
        { function_id: "wide", most: 20 },
      ],
      limit: 20,
      urgent: 10,
    });
    expect(rotation.next(20, (id) => Math.min(4, room(id)))?.limit).toBe(4);
    expect(rotation.next(20, () => 0)).toBeUndefined();
    expect(new FunctionRotation().next(20, everyone)).toBeUndefined();
  });

  test("next: of many functions those with the highest priorities and those that have waited longest", () => {
    const rotation = new FunctionRotation();
    for (let i = 0; i < 1_000; i++) rotation.add(`f${i}`, i);
    const ids = rotation.next(4, everyone)?.functions.map(({ function_id }) => function_id);
    expect(ids).toEqual(["f0", "f1", "f2", "f3", "f998", "f999"]);
  });

  test("settle: a function without a turn keeps its position, one without work leaves, and what was added meanwhile stays", () => {
    const rotation = new FunctionRotation();
    for (const id of ["waits", "served", "done", "back"]) rotation.add(id, 0);
    const turns = rotation.next(20, everyone);
    rotation.add("back", 5, 1);
    if (turns !== undefined)
      rotation.settle(
        turns,
        ["served", "done", "served", "done"],
        [
          { function_id: "served", priority: 2 },
          { function_id: "waits", priority: 1 },
        ],
      );
    expect(rotation.next(20, everyone)?.functions).toEqual([
      { function_id: "waits", most: 20 },
      { function_id: "back", most: 1 },
      { function_id: "served", most: 20 },
    ]);
  });

  test("settle: what others are about to take is left to them", () => {
    const rotation = new FunctionRotation();
    rotation.add("a", 0);
    const turns = rotation.next(20, everyone);
    if (turns !== undefined) rotation.settle(turns, [], [{ function_id: "a", priority: 0 }]);
    expect(rotation.size).toBe(0);
  });

  test("no function waits longer than twice as many turns as there are functions", () => {
    const priorities = fc.array(fc.integer({ min: -100, max: 100 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(priorities, (given) => {
        const rotation = new FunctionRotation();
        given.forEach((priority, index) => rotation.add(String(index), priority));
        const waited = given.map(() => 0);
        for (let turns = 0; turns < 200; turns++) {
          const id = Number(turn(rotation, Object.fromEntries(given.entries())));
          waited.forEach((count, index) => (waited[index] = index === id ? 0 : count + 1));
          expect(Math.max(...waited)).toBeLessThanOrEqual(2 * given.length);
        }
      }),
    );
  });
});
