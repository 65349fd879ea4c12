import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AppError, type Reason } from "../../lib/domain/errors.ts";
import { settled } from "../support/fake-clock.ts";
import { type Ending, WorkWorld } from "./work-world.ts";

/** Something that happens. */
type Happening = (world: WorkWorld) => unknown;

const which = fc.nat({ max: 20 });
const at = <T>(list: readonly T[], index: number): T | undefined => list[index % Math.max(1, list.length)];

const endings: readonly Ending[] = [
  { reason: null },
  { reason: "function_failed" },
  { reason: "function_timeout" },
  { reason: "out_of_memory" },
  { reason: "instance_lost" },
  { reason: "invalid_response" },
  { reason: "function_failed", wish: { retry: false } },
  { reason: "function_failed", wish: { retry_after_ms: 20_000 } },
];
const refusals: readonly Reason[] = [
  "overloaded",
  "too_many_requests",
  "engine_unavailable",
  "image_unavailable",
  "not_found",
];

const happenings: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom("a", "b", "c"), fc.integer({ min: -1, max: 1 }), fc.constantFrom(0, 0, 0, 2_000, 60_000))
      .map<Happening>(
        ([id, priority, delay]) =>
          (world) =>
            world.submit(id, priority, delay),
      ),
  },
  {
    weight: 6,
    arbitrary: which.map<Happening>((index) => (world) => {
      const one = at(world.pending, index);
      if (one) world.handOver(one);
    }),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(which, fc.constantFrom(...endings)).map<Happening>(([index, ending]) => (world) => {
      const one = at(world.pending, index);
      if (one) world.finish(one, ending);
    }),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(which, fc.constantFrom(...refusals)).map<Happening>(([index, reason]) => (world) => {
      const one = at(world.pending, index);
      if (one) world.refuse(one, new AppError(reason, "on purpose"));
    }),
  },
  {
    weight: 1,
    arbitrary: which.map<Happening>((index) => (world) => {
      const one = at(world.pending, index);
      if (one) world.refuse(one, new Error("a mistake"));
    }),
  },
  {
    weight: 3,
    arbitrary: which.map<Happening>((index) => (world) => {
      const id = at(world.submitted, index);
      if (id !== undefined) world.cancel(id);
    }),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom(1, 1_000, 5_000, 31_000, 100_000).map<Happening>((ms) => (world) => world.advance(ms)),
  },
  { weight: 2, arbitrary: fc.constant<Happening>((world) => world.kill()) },
  { weight: 1, arbitrary: fc.constant<Happening>((world) => world.stop()) },
  { weight: 2, arbitrary: fc.constant<Happening>((world) => world.sweep()) },
  { weight: 1, arbitrary: fc.constant<Happening>((world) => world.engineDown()) },
  { weight: 1, arbitrary: fc.constant<Happening>((world) => world.engineUp()) },
  { weight: 1, arbitrary: fc.boolean().map<Happening>((isFull) => (world) => world.diskFull(isFull)) },
);

/** What must hold of an invocation when all is over. */
function judge(world: WorkWorld, id: string): void {
  const { invocations, attempts } = world.store;
  const record = invocations.get(id);
  expect(["succeeded", "dead", "cancelled"]).toContain(record?.status ?? "lost");
  expect(record?.finished_at).not.toBeNull();
  expect(world.consequences.filter((one) => one.id === id).map(({ status }) => status)).toEqual([
    record?.status ?? "dead",
  ]);
  // Full disks and full servers say nothing of a function.
  expect(["overloaded", "too_many_requests", "storage_full", "shutting_down"]).not.toContain(record?.reason);
  const made = attempts.list(id);
  expect(made.map(({ attempt }) => attempt)).toEqual(made.map((_, index) => index + 1));
  expect(record?.attempts).toBe(made.length);
  expect(made.filter(({ status, finished_at }) => status === "running" || finished_at === null)).toEqual([]);
  expect(made.filter(({ status }) => status === "succeeded")).toHaveLength(record?.status === "succeeded" ? 1 : 0);
  expect(world.runs.get(id) ?? 0).toBeLessThanOrEqual(made.length);
}

describe("Worker", () => {
  test("ends everything once, never runs it beside itself, and loses nothing, whatever happens", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(happenings, { maxLength: 300, size: "max" }), async (history) => {
        await using world = new WorkWorld();
        const ended = new Map<string, number>();
        for (const happens of history) {
          await happens(world);
          await settled();
          // An attempt that has ended stays.
          for (const id of world.submitted) {
            const count = world.store.attempts.list(id).filter(({ finished_at }) => finished_at !== null).length;
            expect(count).toBeGreaterThanOrEqual(ended.get(id) ?? 0);
            ended.set(id, count);
          }
        }
        expect(await world.settle()).toBe(true);
        expect(world.wrongs).toEqual([]);
        for (const id of world.submitted) judge(world, id);
        expect(world.consequences).toHaveLength(world.submitted.length);
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  test("rests while the engine is away, with work and without", async () => {
    await using world = new WorkWorld();
    await world.advance(1);
    world.engineDown();
    await world.submit("a", 0, 0);
    await world.advance(1_000);
    const before = world.looks;
    for (let turn = 0; turn < 100; turn++) await settled();
    expect(world.looks).toBe(before);
    world.engineUp();
    await world.advance(1_000);
    expect(world.pending).toHaveLength(1);
  });

  test("wakes a crowd that is due in batches, between which everyone else has a turn", async () => {
    await using world = new WorkWorld();
    for (let n = 0; n < 1_200; n++) await world.submit("a", 0, 10_000);
    const { work } = world.store;
    const wake = work.wake.bind(work);
    const batches: (readonly [at: number, woken: number])[] = [];
    work.wake = (now) => {
      const woken = wake(now);
      if (woken.length > 0) batches.push([now, woken.length]);
      return woken;
    };
    await world.advance(11_000);
    expect(batches.map(([, woken]) => woken)).toEqual([500, 500, 200]);
    expect(new Set(batches.map(([now]) => now)).size).toBe(3);
  });

  test("ends what is cancelled although its engine is away, and the rest when its containers are gone", async () => {
    await using world = new WorkWorld();
    for (const id of ["a", "b"]) await world.submit(id, 0, 0);
    await settled();
    for (const one of world.pending) world.handOver(one);
    world.engineDown();
    await world.advance(60_000);
    world.cancel("a-0");
    await settled();
    expect(["a-0", "b-1"].map((id) => world.store.invocations.get(id)?.status)).toEqual(["cancelled", "running"]);
    expect(await world.settle()).toBe(true);
    for (const id of world.submitted) judge(world, id);
    expect(world.store.attempts.list("b-1").map(({ status }) => status)).toEqual(["lost", "succeeded"]);
  });

  test("what was lost with a server can be cancelled at once", async () => {
    await using world = new WorkWorld();
    await world.submit("a", 0, 0);
    await settled();
    for (const one of world.pending) world.handOver(one);
    await world.kill();
    world.cancel("a-0");
    await settled();
    expect(world.store.attempts.list("a-0")).toMatchObject([{ status: "lost", reason: "instance_lost" }]);
    expect(world.store.work.count()).toBe(0);
    judge(world, "a-0");
  });

  test("an end is written once, although who is told of it makes a mistake", async () => {
    await using world = new WorkWorld();
    await world.submit("a", 0, 0);
    world.listenersFail = true;
    await world.advance(1_000);
    for (const one of world.pending) world.handOver(one);
    for (const one of world.pending) world.finish(one, { reason: null });
    await world.advance(10_000);
    expect(world.consequences).toHaveLength(1);
    judge(world, "a-0");
  });
});
