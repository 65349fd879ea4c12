import { expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import { BodyMemory, readerWithin, type Room } from "../../../lib/http/calls/body-memory.ts";
import { stillClock } from "../../store/sqlite/support/stores.ts";

// B2: the budget for bodies, against a model: a list of what is held.

const KIB = 1024;
const BUDGET = 1_000 * KIB;
/** Smaller bodies count for all clients only. */
const COUNTED = 64 * KIB;

type Held = { readonly room: Room; readonly client: string; bytes: number };

const client = fc.constantFrom("a", "b", "c");
const size = fc.oneof(fc.integer({ min: 0, max: COUNTED }), fc.integer({ min: COUNTED, max: BUDGET + KIB }));
const action = fc.oneof(
  fc.record({ type: fc.constant("take" as const), client, size }),
  fc.record({ type: fc.constantFrom("shrink" as const, "release" as const, "send" as const), index: fc.nat(), size }),
);

test("a client has its part again as soon as its answers are out, before the next look for them", () => {
  using memory = new BodyMemory({ clock: stillClock(), budget: BUDGET });
  let isOut = false;
  for (let call = 0; call < 4; call++)
    memory.releaseWhenOut(
      memory.take(BUDGET / 8, () => "a"),
      () => isOut,
    );
  expect(() => memory.take(BUDGET / 8, () => "a")).toThrow("those of one client take");
  isOut = true;
  expect(memory.take(BUDGET / 2, () => "a").bytes).toBe(BUDGET / 2);
  expect(memory.used).toBe(BUDGET / 2);
});

test("whatever clients do, no more than the budget is taken, nothing leaks, and what fits is let in", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      using memory = new BodyMemory({ clock: stillClock(), budget: BUDGET });
      const held: Held[] = [];
      const taken = (of: readonly Held[]) => of.reduce((sum, { bytes }) => sum + bytes, 0);
      const countedOf = (name: string) => taken(held.filter((one) => one.client === name && one.room.client === name));
      for (const step of actions) {
        if (step.type === "take") {
          const own = countedOf(step.client);
          const isCounted = step.size >= COUNTED;
          const fits = taken(held) + step.size <= BUDGET && (!isCounted || own === 0 || own + step.size <= BUDGET / 2);
          try {
            held.push({ room: memory.take(step.size, () => step.client), client: step.client, bytes: step.size });
            expect(fits).toBe(true);
          } catch (error) {
            if (!(error instanceof AppError)) throw error;
            expect([fits, error.reason, error.retry_after_s]).toEqual([false, "overloaded", 2]);
          }
        } else {
          const one = held[step.index % Math.max(1, held.length)];
          if (one === undefined) continue;
          if (step.type === "shrink") {
            memory.shrink(one.room, step.size);
            one.bytes = Math.min(one.bytes, step.size);
          } else {
            memory.release(one.room);
            held.splice(held.indexOf(one), 1);
          }
        }
        expect(memory.used).toBe(taken(held));
        expect(memory.used).toBeLessThanOrEqual(BUDGET);
      }
      for (const { room } of held) memory.release(room);
      expect(memory.used).toBe(0);
      // A client that had everything before has it again.
      expect(memory.take(BUDGET, () => "a").bytes).toBe(BUDGET);
    }),
  );
});

test("answers hold their room until they are out, and give it back when somebody needs it", () => {
  using memory = new BodyMemory({ clock: stillClock(), budget: BUDGET });
  let isOut = false;
  memory.releaseWhenOut(
    memory.take(BUDGET, () => "a"),
    () => isOut,
  );
  expect(() => memory.take(1, () => "b")).toThrow("BODY_MEMORY");
  isOut = true;
  expect(memory.take(BUDGET, () => "b").bytes).toBe(BUDGET);
});

test("a body of /v1 has room before it is read, and gives it back also if its client goes away", async () => {
  using memory = new BodyMemory({ clock: stillClock(), budget: 100 });
  const body = Promise.withResolvers<Uint8Array>();
  let reads = 0;
  const read = readerWithin(
    memory,
    () => (reads++, body.promise),
    () => "a",
  );
  const request = () => new Request("http://localhost/v1/functions", { method: "POST", body: "x".repeat(60) });
  const first = read(request(), 60);
  expect(memory.used).toBe(60);
  const second: unknown = await read(request(), 60).catch((error: unknown) => error);
  expect(second).toMatchObject({ reason: "overloaded", retry_after_s: 2 });
  expect(reads).toBe(1);
  body.reject(new AppError("cancelled", "gone"));
  await first.catch(() => undefined);
  expect(memory.used).toBe(0);
});
