import { expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../lib/domain/errors.ts";
import { Admission, type Place } from "../../lib/runner/admission.ts";
import { settle } from "./fake-clock.ts";

function admission(instances: number, queue: number, monotonic = () => 0): Admission {
  return new Admission({ max_instances: instances, queue_limit: queue, monotonic });
}

const never = new AbortController().signal;

test("Admission.enter gives a place at once while there is one, then makes callers wait, then turns them away", async () => {
  const door = admission(1, 1);
  const first = await door.enter(never);
  const second = door.enter(never);
  const third: unknown = await door.enter(never).catch((error: unknown) => error);
  expect(third).toMatchObject({
    reason: "overloaded",
    message: expect.stringContaining("All 1 instances are busy and 1 calls wait already"),
  });
  expect(third instanceof AppError && third.retry_after_s).toBe(1);
  expect([door.running, door.waiting]).toEqual([1, 1]);
  first();
  (await second)();
  expect([door.running, door.waiting]).toEqual([0, 0]);
});

test("Admission takes a place back once, however often it is given", async () => {
  const door = admission(2, 0);
  const [first] = [await door.enter(never), await door.enter(never)];
  first();
  first();
  first();
  expect(door.running).toBe(1);
});

test("Admission.enter with an aborted signal takes nothing", async () => {
  const door = admission(1, 1);
  expect(door.enter(AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
  expect([door.running, door.waiting]).toEqual([0, 0]);
});

test("Admission.enter rejects with the signal's reason, and leaves the queue", async () => {
  const door = admission(1, 2);
  const place = await door.enter(never);
  const leaving = new AbortController();
  const [second, third] = [door.enter(leaving.signal), door.enter(never)];
  leaving.abort(new Error("gone"));
  expect(second).rejects.toThrow("gone");
  expect(door.waiting).toBe(1);
  place();
  (await third)();
  expect(door.running).toBe(0);
});

test("Retry-After grows with the queue and the time that places take", async () => {
  let now = 0;
  const door = admission(1, 10, () => now);
  const places: Promise<Place>[] = [door.enter(never)];
  for (let i = 0; i < 10; i++) places.push(door.enter(never));
  // A place every 3 s; those who leave come again at the end.
  for (let i = 0; i < 40; i++) {
    now += 3_000;
    (await places.shift())?.();
    places.push(door.enter(never));
  }
  const refused: unknown = await door.enter(never).catch((error: unknown) => error);
  expect(refused instanceof AppError && refused.retry_after_s).toBeGreaterThanOrEqual(28);
  expect(refused instanceof AppError && refused.retry_after_s).toBeLessThanOrEqual(31);
});

/** What callers do, in any order. */
type Step = { readonly do: "enter" } | { readonly do: "leave" | "abort"; readonly who: number };
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("enter" as const) }),
    fc.record({ do: fc.constantFrom("leave" as const, "abort" as const), who: fc.nat(60) }),
  ),
  { maxLength: 60 },
);

test("Admission never lets in more than it may, keeps the order, and loses no place", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.nat(5), steps, async (instances, queue, sequence: Step[]) => {
      const door = admission(instances, queue);
      const admitted: number[] = [];
      const callers: { readonly abort: AbortController; place?: Place; done: boolean }[] = [];
      for (const step of sequence) {
        const caller = step.do === "enter" ? undefined : callers[step.who];
        if (step.do === "enter") enter(door, callers, admitted);
        else if (step.do === "abort") caller?.abort.abort(new Error("gone"));
        else caller?.place?.();
        await settle();
        const inside = callers.filter(({ place, done }) => place !== undefined && !done).length;
        expect(door.running).toBeLessThanOrEqual(instances);
        expect(door.waiting).toBeLessThanOrEqual(queue);
        expect(door.running).toBe(inside);
        // Nobody waits beside a free place.
        if (door.waiting > 0) expect(door.running).toBe(instances);
      }
      expect(admitted).toEqual(admitted.toSorted((a, b) => a - b));
      for (const { abort } of callers) abort.abort(new Error("end"));
      await settle();
      for (const { place } of callers) place?.();
      expect([door.running, door.waiting]).toEqual([0, 0]);
    }),
    { numRuns: 60 },
  );
});

function enter(
  door: Admission,
  callers: { readonly abort: AbortController; place?: Place; done: boolean }[],
  admitted: number[],
): void {
  const number = callers.length;
  const caller: (typeof callers)[number] = { abort: new AbortController(), done: false };
  callers.push(caller);
  door.enter(caller.abort.signal).then(
    (place) => {
      admitted.push(number);
      caller.place = () => {
        caller.done = true;
        place();
      };
    },
    () => (caller.done = true),
  );
}
