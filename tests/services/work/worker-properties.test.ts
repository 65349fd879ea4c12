import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import { settled } from "../../support/fake-clock.ts";
import { type Ending, WorkWorld } from "../support/work-world.ts";

const ENDINGS: readonly Ending[] = [
  { reason: null },
  { reason: "function_failed" },
  { reason: "function_timeout" },
  { reason: "out_of_memory" },
  { reason: "instance_lost" },
  { reason: "invalid_response" },
  { reason: "function_failed", wish: { retry: false } },
  { reason: "function_failed", wish: { retry_after_ms: 20_000 } },
];
const REFUSALS: readonly Error[] = [
  ...(["overloaded", "too_many_requests", "engine_unavailable", "image_unavailable", "not_found"] as const).map(
    (reason) => new AppError(reason, "on purpose"),
  ),
  new Error("a mistake"),
];
const DELAYS = [0, 0, 0, 2_000, 60_000];
const PAUSES = [1, 1_000, 5_000, 31_000, 100_000];

/** The events with their weights; the numbers choose their targets and variants. */
const HAPPENINGS = {
  submit: [6, (world, n, m) => world.submit(at(["a", "b", "c"], n) ?? "", (m % 3) - 1, at(DELAYS, m) ?? 0)],
  handOver: [6, (world, n) => attempt(world, n, (one) => world.handOver(one))],
  finish: [6, (world, n, m) => attempt(world, n, (one) => world.finish(one, at(ENDINGS, m) ?? { reason: null }))],
  refuse: [3, (world, n, m) => attempt(world, n, (one) => world.refuse(one, at(REFUSALS, m)))],
  cancel: [3, (world, n) => world.submitted.length > 0 && world.cancel(at(world.submitted, n) ?? "")],
  advance: [6, (world, n) => world.advance(at(PAUSES, n) ?? 0)],
  kill: [2, (world) => world.kill()],
  stop: [1, (world) => world.stop()],
  sweep: [2, (world) => world.sweep()],
  engineDown: [1, (world) => world.engineDown()],
  engineUp: [1, (world) => world.engineUp()],
  diskFull: [1, (world, n) => world.diskFull(n % 2 === 0)],
} satisfies Record<string, readonly [weight: number, (world: WorkWorld, n: number, m: number) => unknown]>;

type Happening = readonly [what: keyof typeof HAPPENINGS, n: number, m: number];

const number = fc.nat({ max: 20 });
// Object.keys forgets the type of the keys.
const names = Object.keys(HAPPENINGS) as (keyof typeof HAPPENINGS)[];
const happenings: fc.Arbitrary<Happening> = fc.tuple(
  fc.oneof(...names.map((name) => ({ weight: HAPPENINGS[name][0], arbitrary: fc.constant(name) }))),
  number,
  number,
);

function at<T>(list: readonly T[], index: number): T | undefined {
  return list[index % Math.max(1, list.length)];
}

async function attempt(
  world: WorkWorld,
  index: number,
  run: (one: WorkWorld["pending"][number]) => unknown,
): Promise<void> {
  const one = at(world.pending, index);
  if (one !== undefined) await run(one);
}

/** Checks an invocation when everything is over. */
function judge(world: WorkWorld, id: string): void {
  const { invocations, attempts } = world.store.tables;
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
  test("ends every invocation once, never runs one twice at the same time, and loses none, for any sequence of events", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(happenings, { maxLength: 300, size: "max" }), async (history) => {
        await using world = new WorkWorld();
        const ended = new Map<string, number>();
        for (const [what, n, m] of history) {
          await HAPPENINGS[what][1](world, n, m);
          await settled();
          // An attempt that has ended stays.
          for (const id of world.submitted) {
            const count = world.store.tables.attempts.list(id).filter(({ finished_at }) => finished_at !== null).length;
            expect(count).toBeGreaterThanOrEqual(ended.get(id) ?? 0);
            ended.set(id, count);
          }
        }
        expect(await world.settle()).toBe(true);
        expect(world.wrongs).toEqual([]);
        for (const id of world.submitted) judge(world, id);
        expect(world.consequences).toHaveLength(world.submitted.length);
      }),
      // The search for the shortest history takes long: it reports what it has found by then.
      { numRuns: 40, plugins: [fc.timeout(10_000), fc.interruptAfterTimeLimit(60_000)] },
    );
  });

  test("a cancelled invocation ends as cancelled, whatever kept it from starting", async () => {
    await using world = new WorkWorld();
    await world.submit("a", 0, 0);
    await settled();
    world.diskFull(true);
    await attempt(world, 0, (one) => world.handOver(one));
    await settled();
    world.diskFull(false);
    world.cancel("a-0");
    await world.advance(5_000);
    expect(world.store.tables.invocations.get("a-0")).toMatchObject({
      status: "cancelled",
      reason: "cancelled",
      attempts: 0,
    });
    judge(world, "a-0");
  });

  test("is idle while the engine is away, with work and without", async () => {
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

  test("wakes a large number of due invocations in batches, between which other work has a turn", async () => {
    await using world = new WorkWorld();
    for (let n = 0; n < 1_200; n++) await world.submit("a", 0, 10_000);
    const { work } = world.store.tables;
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

  test("ends cancelled work even while the engine is away, and the rest when its containers are gone", async () => {
    await using world = new WorkWorld();
    for (const id of ["a", "b"]) await world.submit(id, 0, 0);
    await settled();
    for (const one of world.pending) await world.handOver(one);
    world.engineDown();
    await world.advance(60_000);
    world.cancel("a-0");
    await settled();
    expect(["a-0", "b-1"].map((id) => world.store.tables.invocations.get(id)?.status)).toEqual([
      "cancelled",
      "running",
    ]);
    expect(await world.settle()).toBe(true);
    for (const id of world.submitted) judge(world, id);
    expect(world.store.tables.attempts.list("b-1").map(({ status }) => status)).toEqual(["lost", "succeeded"]);
  });

  test("work that was lost with a server can be cancelled at once", async () => {
    await using world = new WorkWorld();
    await world.submit("a", 0, 0);
    await settled();
    for (const one of world.pending) await world.handOver(one);
    await world.kill();
    world.cancel("a-0");
    await settled();
    expect(world.store.tables.attempts.list("a-0")).toMatchObject([{ status: "lost", reason: "instance_lost" }]);
    expect(world.store.tables.work.count()).toBe(0);
    judge(world, "a-0");
  });

  test("an end is written once, even if a listener throws", async () => {
    await using world = new WorkWorld();
    await world.submit("a", 0, 0);
    world.listenersFail = true;
    await world.advance(1_000);
    for (const one of world.pending) await world.handOver(one);
    for (const one of world.pending) world.finish(one, { reason: null });
    await world.advance(10_000);
    expect(world.consequences).toHaveLength(1);
    judge(world, "a-0");
  });
});
