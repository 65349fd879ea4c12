import { describe, expect, test } from "bun:test";
import { settled } from "../../support/fake-clock.ts";
import { failureOf, functionOf, PoolsUnderTest } from "./fake-instances.ts";

const a = functionOf("a");
const b = functionOf("b");
const c = functionOf("c");

/** A call that had to wait for a start. */
async function startOne(under: PoolsUnderTest, fn: ReturnType<typeof functionOf>) {
  const acquired = under.acquire(fn);
  await under.succeedAll();
  return acquired;
}

describe("Pools makes room", () => {
  test("for a call with the ready instance of the pool that was called longest ago", async () => {
    using under = new PoolsUnderTest({ instances: 2 });
    await under.warm(a);
    await under.clock.advance(1_000);
    await under.warm(b);
    const acquired = under.acquire(c);
    await settled();
    expect(under.alive.map((instance) => instance.function.id)).toEqual(["b"]);
    await under.succeed("c");
    expect((await acquired).start).toBe("cold");
  });

  test("for a refill only if that pool has cooled down", async () => {
    using under = new PoolsUnderTest({ instances: 2 });
    const greedy = functionOf("a", { warm_min: 2, idle_ttl_ms: 1_000_000 });
    await under.warm(b);
    await under.clock.advance(9_000);
    under.pools.update(greedy);
    await under.succeedAll();
    expect(under.stateOf("b")).toMatchObject({ ready: 1 });
    expect(under.stateOf("a")).toMatchObject({ ready: 1, target: 2 });
    await under.clock.advance(1_000);
    const { instance, leave } = await under.acquire(a);
    instance.retire();
    leave();
    await under.succeedAll();
    expect(under.stateOf("a")).toMatchObject({ ready: 2 });
    expect(under.stateOf("b")).toMatchObject({ ready: 0, target: 1 });
  });

  test("for no refill with an instance of a pool that was called more recently", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    await under.warm(a);
    await under.clock.advance(60_000);
    under.pools.update(b);
    await under.succeedAll();
    expect(under.stateOf("b").ready).toBe(1);
    await under.clock.advance(60_000);
    expect(under.stateOf("b").ready).toBe(1);
    expect(under.stateOf("a")).toMatchObject({ ready: 0, target: 1 });
  });

  test("without delaying the refill of a pool that is queued behind one without room", async () => {
    using under = new PoolsUnderTest({ instances: 2 });
    await under.warm(a);
    await under.clock.advance(20_000);
    await under.warm(functionOf("b", { warm_min: 2 }));
    expect(under.stateOf("b").ready).toBe(2);
    // a wants one and has no pool to take it from; c, behind it, has one.
    await under.clock.advance(20_000);
    under.pools.update(c);
    await under.succeedAll();
    expect(under.stateOf("a")).toMatchObject({ ready: 0, target: 1 });
    expect(under.stateOf("c").ready).toBe(1);
  });

  test("never with a busy instance, and starts an instance for the call when one is gone", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    await under.warm(a);
    const { instance, leave } = await under.acquire(a);
    const waiting = under.acquire(b);
    await under.clock.advance(5_000);
    expect(under.starts).toEqual([]);
    leave();
    instance.retire();
    await settled();
    expect(under.starts).toEqual(["b"]);
    await under.succeed();
    expect((await waiting).start).toBe("cold");
  });

  test("with no instance at all if that would not be enough", async () => {
    using under = new PoolsUnderTest({ memory_bytes: 300 });
    const small = (id: string) => functionOf(id, { memory_bytes: 100 });
    await under.warm(small("a"));
    await under.warm(small("b"));
    await under.acquire(small("a"));
    void under.acquire(functionOf("c", { memory_bytes: 250 }));
    await under.clock.advance(5_000);
    expect(under.starts).toEqual([]);
    expect(under.stateOf("b").ready).toBe(1);
  });

  test("for a small call while a large one waits, and for no refill before that", async () => {
    using under = new PoolsUnderTest({ memory_bytes: 300 });
    const large = functionOf("l", { memory_bytes: 250 });
    const small = functionOf("s", { memory_bytes: 100 });
    await under.warm(small);
    const held = await under.acquire(small);
    const first = under.acquire(large);
    const second = under.acquire(functionOf("t", { memory_bytes: 100 }));
    await settled();
    expect(under.starts).toEqual(["t"]);
    await under.succeed();
    const passed = await second;
    passed.leave();
    passed.instance.retire();
    await under.clock.advance(1_000);
    expect(under.starts).toEqual([]);
    held.leave();
    held.instance.retire();
    await settled();
    expect(under.starts).toEqual(["l"]);
    await under.succeed();
    await first;
  });

  test.each([1, 0])("for a large call in the end, however many smaller ones come (max_calls %d)", async (max_calls) => {
    using under = new PoolsUnderTest({ memory_bytes: 300, instances: 100, starts_at_once: 8 });
    const small = functionOf("s", { memory_bytes: 100, max_calls });
    const calls = Array.from({ length: 5 }, () => under.acquire(small));
    await under.succeedAll();
    const large = under.acquire(functionOf("l", { memory_bytes: 250 }));
    const got: number[] = [];
    void large.then(() => got.push(under.clock.monotonic()));
    // Five calls of a second each are present at any time, three of which have an instance.
    for (let round = 0; got.length === 0 && round < 30; round++) {
      await under.clock.advance(350);
      const { instance, leave } = await (calls.shift() ?? Promise.reject(new Error("nobody calls")));
      leave();
      if (max_calls === 0) under.pools.giveBack(instance);
      else instance.retire();
      calls.push(under.acquire(small));
      await settled();
      if (under.starts.includes("l")) expect(under.capacity.instances).toBe(1);
      while (under.launching.length > 0) await under.succeed();
    }
    // Five seconds, and the calls that ran then.
    expect(got[0]).toBeWithin(5_000, 5_000 + 4 * 350 + 1);
    const { instance, leave } = await large;
    instance.retire();
    leave();
    await under.succeedAll();
    expect(under.stateOf("s").busy).toBe(3);
  });

  test("for the others again if a large call that waited too long goes away", async () => {
    using under = new PoolsUnderTest({ memory_bytes: 300, starts_at_once: 8 });
    const small = functionOf("s", { memory_bytes: 100 });
    const running = [await startOne(under, small), await startOne(under, small)];
    const caller = new AbortController();
    const large = under.acquire(functionOf("l", { memory_bytes: 250 }), caller.signal);
    await under.clock.advance(5_000);
    const waiting = under.acquire(functionOf("t", { memory_bytes: 100 }));
    await settled();
    expect(under.starts).toEqual([]);
    caller.abort(new Error("gone"));
    await failureOf(large);
    await settled();
    expect(under.starts).toEqual(["t"]);
    await under.succeedAll();
    for (const call of [...running, await waiting]) call.leave();
  });

  test("never above the limits", async () => {
    using under = new PoolsUnderTest({ instances: 3, starts_at_once: 8 });
    const calls = Array.from({ length: 12 }, (_, index) => under.acquire(functionOf(`f${index}`)));
    await settled();
    expect(under.launching).toHaveLength(3);
    await under.succeedAll();
    expect(under.alive).toHaveLength(3);
    for (const one of calls) {
      const { instance, leave } = await one;
      leave();
      instance.retire();
      await under.succeedAll();
      expect(under.alive.length).toBeLessThanOrEqual(3);
    }
  });
});
