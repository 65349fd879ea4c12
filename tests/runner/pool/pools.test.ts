import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { settled } from "../../support/fake-clock.ts";
import { failureOf, functionOf, PoolsUnderTest } from "./fake-instances.ts";

const a = functionOf("a");
const b = functionOf("b");
const c = functionOf("c");
const boom = new Error("boom");

/** Makes a call that takes an instance and gives it up, with its answer, at once. */
async function call(under: PoolsUnderTest, fn = a): Promise<"warm" | "cold"> {
  const { instance, start, leave } = await under.acquire(fn);
  instance.retire();
  leave();
  await settled();
  return start;
}

describe("Pools.acquire", () => {
  test("takes a ready instance at once, and a replacement starts when the call is over and its answer is sent", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    expect(under.stateOf("a")).toEqual({ ready: 1, starting: 0, busy: 0, target: 1 });
    const { instance, start, leave } = await under.acquire(a);
    expect(start).toBe("warm");
    expect(under.stateOf("a")).toMatchObject({ ready: 0, starting: 0, busy: 1 });
    leave();
    instance.retire();
    await under.clock.advance(4);
    expect(under.starts).toEqual([]);
    await under.clock.advance(1);
    expect(under.starts).toEqual(["a"]);
    expect(under.stateOf("a")).toMatchObject({ ready: 0, starting: 1, busy: 0 });
  });

  test("waits for a start if none is ready", async () => {
    using under = new PoolsUnderTest();
    const acquired = under.acquire(a);
    await settled();
    expect(under.starts).toEqual(["a"]);
    const instance = await under.succeed();
    expect(await acquired).toMatchObject({ instance, start: "cold" });
    expect(under.stateOf("a")).toMatchObject({ busy: 1, starting: 0 });
  });

  test("gives the newest instance first, and a new one to the call that has waited longest", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 1 });
    const calls = [under.acquire(a), under.acquire(a)];
    const first = await under.succeed();
    expect((await calls[0])?.instance).toBe(first);
    const second = await under.succeed();
    expect((await calls[1])?.instance).toBe(second);
  });

  test("passes over an instance that died while it waited", async () => {
    using under = new PoolsUnderTest();
    await under.warm(functionOf("a", { warm_min: 2 }));
    const [older, newer] = under.instances;
    newer?.die();
    const { instance, start } = await under.acquire(a);
    expect(start).toBe("warm");
    expect(instance).toBe(older ?? instance);
    older?.die();
    expect(under.capacity.instances).toBe(1);
  });

  test("starts another if all ready ones have died", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    under.instances[0]?.die();
    const acquired = under.acquire(a);
    await settled();
    await under.succeed();
    expect((await acquired).start).toBe("cold");
  });

  test("fails one call for each failed start, the oldest first", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 1 });
    const calls = [under.acquire(a), under.acquire(a), under.acquire(a)];
    await under.fail(boom);
    expect(await failureOf(calls[0])).toBe(boom);
    const instance = await under.succeed();
    expect((await calls[1])?.instance).toBe(instance);
    const other = new Error("other");
    await under.fail(other);
    expect(await failureOf(calls[2])).toBe(other);
    expect(under.capacity.instances).toBe(1);
    expect(under.logged).toEqual([]);
  });

  test("say why the last start failed until one succeeds, the function changes or the engine is back", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 1 });
    const shown = () => under.stateOf("a").problem;
    const fail = async () => {
      const call = under.acquire(a);
      await settled();
      await under.fail(boom);
      await failureOf(call);
    };
    expect(shown()).toBeUndefined();
    await fail();
    expect(shown()).toBe(boom.message);
    const next = under.acquire(a);
    await settled();
    expect(shown()).toBe(boom.message);
    await under.succeed();
    under.instances.at(-1)?.retire();
    expect([shown(), "problem" in under.stateOf("a")]).toEqual([undefined, false]);
    (await next).leave();
    await fail();
    under.pools.resume();
    expect(shown()).toBeUndefined();
    await fail();
    expect(shown()).toBe(boom.message);
    under.pools.update({ ...a, version: 2, isolation: "process", max_calls: 0 });
    expect(shown()).toBeUndefined();
  });

  test("keeps the instance for others if its caller went away", async () => {
    using under = new PoolsUnderTest();
    const caller = new AbortController();
    const acquired = under.acquire(a, caller.signal);
    await settled();
    caller.abort(boom);
    expect(await failureOf(acquired)).toBe(boom);
    await under.succeed();
    expect(under.stateOf("a")).toMatchObject({ ready: 1, busy: 0 });
    expect((await under.acquire(a)).start).toBe("warm");
  });

  test("keeps it even if the caller leaves just as it becomes ready", async () => {
    using under = new PoolsUnderTest();
    const caller = new AbortController();
    const acquired = under.acquire(a, caller.signal);
    const next = under.acquire(a);
    await settled();
    under.launching[1]?.fail(boom);
    under.launching[0]?.succeed();
    // After the pool has handed it over, before the caller has taken it.
    queueMicrotask(() => queueMicrotask(() => caller.abort(boom)));
    const outcomes = await Promise.allSettled([acquired, next]);
    await settled();
    const { busy, ready } = under.stateOf("a");
    const taken = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(busy + ready).toBe(under.alive.length);
    expect(busy).toBe(taken);
  });

  test("refuses a signal that has aborted, and starts nothing for it", async () => {
    using under = new PoolsUnderTest();
    expect(await failureOf(under.acquire(functionOf("a", { warm_max: 0 }), AbortSignal.abort(boom)))).toBe(boom);
    await settled();
    expect(under.starts).toEqual([]);
    expect(under.stateOf("a").busy).toBe(0);
  });

  test("refuses an instance that could never fit", async () => {
    using under = new PoolsUnderTest({ memory_bytes: 100 });
    const refused = { reason: "overloaded", message: expect.stringContaining("memory budget") };
    expect(await failureOf(under.acquire(functionOf("a", { memory_bytes: 101 })))).toMatchObject(refused);
    await settled();
    expect(under.starts).toEqual([]);
  });
});

describe("Pools starts", () => {
  test("no more than starts_at_once", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 3, instances: 100 });
    const calls = Array.from({ length: 20 }, (_, index) => under.acquire(functionOf(`f${index % 4}`)));
    await under.succeedAll();
    await Promise.all(calls);
    await under.clock.advance(20);
    await under.succeedAll();
    expect(under.mostStarts).toBe(3);
  });

  test("for functions in turns, however many calls each has", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 1, instances: 100 });
    for (let count = 0; count < 3; count++) void under.acquire(a);
    for (let count = 0; count < 3; count++) void under.acquire(b);
    void under.acquire(c);
    const order: string[] = [];
    await settled();
    while (order.length < 7) {
      order.push(under.starts[0] ?? "");
      await under.succeed();
    }
    // The second of a had asked before b and c did.
    expect(order.join("")).toBe("aabcabb");
  });

  test("for calls before refills", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 1, instances: 100 });
    under.pools.update(functionOf("a", { warm_min: 5 }));
    await settled();
    expect(under.starts).toEqual(["a"]);
    const acquired = under.acquire(b);
    under.pools.update(functionOf("c", { warm_min: 5 }));
    await under.succeed("a");
    expect(under.starts).toEqual(["b"]);
    await under.succeed("b");
    expect((await acquired).start).toBe("cold");
  });

  test("refills when no call runs, or 20 ms later, however steadily calls come", async () => {
    using under = new PoolsUnderTest({ instances: 100 });
    await under.warm(functionOf("a", { warm_min: 50, warm_max: 50 }));
    const before = under.instances.length;
    const leave: (() => void)[] = [];
    for (let ms = 0; ms < 40; ms += 5) {
      leave.push((await under.acquire(a)).leave);
      if (ms < 20) expect(under.launching).toHaveLength(0);
      await under.clock.advance(5);
    }
    expect(under.launching.length).toBeGreaterThan(0);
    for (const one of leave) one();
    await under.succeedAll();
    expect(under.instances.length).toBe(before + 8);
  });

  test("refills later while a server gets its first request", async () => {
    using under = new PoolsUnderTest({ instances: 100 });
    const server = functionOf("a", { contract: "http", warm_min: 2, warm_max: 2 });
    await under.warm(server);
    const { leave } = await under.acquire(server);
    await under.clock.advance(59);
    expect(under.launching).toHaveLength(0);
    await under.clock.advance(1);
    expect(under.launching).toHaveLength(1);
    leave();
  });

  test("one instance when a function is registered, or as many as its warm_min", async () => {
    using under = new PoolsUnderTest();
    under.pools.update(a);
    under.pools.update(functionOf("b", { warm_min: 3 }));
    under.pools.update(functionOf("c", { warm_max: 0 }));
    await under.succeedAll();
    expect(under.instances.map((instance) => instance.function.id).toSorted()).toEqual(["a", "b", "b", "b"]);
    await settled();
    expect(await call(under, a)).toBe("warm");
  });

  test("a replacement for a ready instance that was killed", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    under.instances[0]?.retire();
    await settled();
    expect(under.starts).toEqual(["a"]);
    expect(under.capacity.instances).toBe(1);
  });

  test("a refill again after a failure, 1 s, 2 s ... 60 s later", async () => {
    using under = new PoolsUnderTest();
    under.pools.update(functionOf("a", { warm_min: 1 }));
    for (const pause of [1, 2, 4, 8, 16, 32, 60, 60]) {
      await under.fail(boom);
      await under.clock.advance(pause * 1000 - 1);
      expect(under.starts).toEqual([]);
      await under.clock.advance(1_001); // pools look at the time once a second
      expect(under.starts).toEqual(["a"]);
    }
    expect(under.logged).toHaveLength(8);
    expect(under.logged[0]).toContain("instance not started");
    await under.succeed();
    under.instances[0]?.retire();
    await settled();
    expect(under.starts).toEqual(["a"]);
    await under.fail(boom);
    await under.clock.advance(2_001);
    expect(under.starts).toEqual(["a"]);
  });

  test("for a call at once, even after failures", async () => {
    using under = new PoolsUnderTest();
    under.pools.update(a);
    await under.fail(boom);
    const acquired = under.acquire(a);
    await settled();
    await under.succeed();
    expect((await acquired).start).toBe("cold");
  });

  test("nothing while the engine cannot be used, fails the calls that wait, and fills the pools when it is back", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 1 });
    await under.warm(a);
    const problem = new AppError("engine_unavailable", "away");
    const calls = [under.acquire(b), under.acquire(c), under.acquire(c)];
    await settled();
    expect(under.starts).toEqual(["b"]);
    under.problem = problem;
    await under.fail(boom);
    expect(await failureOf(calls[0])).toBe(boom);
    expect(await failureOf(calls[1])).toBe(problem);
    expect(await failureOf(calls[2])).toBe(problem);
    expect(await failureOf(under.acquire(b))).toBe(problem);
    expect((await under.acquire(a)).start).toBe("warm");
    for (const instance of under.instances) instance.retire();
    await under.clock.advance(5_000);
    expect(under.starts).toEqual([]);
    under.problem = undefined;
    under.pools.resume();
    await under.clock.advance(20);
    await under.succeedAll();
    expect(under.alive.map((instance) => instance.function.id).toSorted()).toEqual(["a", "b", "c", "c"]);
  });

  test("nothing for a call that waits for room when the engine goes away, and fails it within a second", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    await under.warm(a);
    await under.acquire(a);
    const waiting = under.acquire(b);
    await settled();
    under.problem = new AppError("engine_unavailable", "away");
    await under.clock.advance(1_000);
    expect(await failureOf(waiting)).toBe(under.problem);
  });

  test("nothing after it is closed, and fails the calls that wait", async () => {
    const under = new PoolsUnderTest({ starts_at_once: 1 });
    await under.warm(a);
    const calls = [under.acquire(b), under.acquire(c)];
    await settled();
    under[Symbol.dispose]();
    for (const one of [...calls, under.acquire(a)])
      expect(await failureOf(one)).toMatchObject({ reason: "shutting_down" });
    await under.succeedAll();
    await under.clock.advance(60_000);
    expect(under.alive).toEqual([]);
    expect(under.instances).toHaveLength(2);
    expect(under.capacity.instances).toBe(0);
    expect(under.clock.pending).toBe(0);
  });
});
