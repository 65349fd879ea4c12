import { describe, expect, test } from "bun:test";
import { settled } from "../support/fake-clock.ts";
import { functionOf, PoolsUnderTest } from "./fake-instances.ts";

const a = functionOf("a");
const b = functionOf("b");
const c = functionOf("c");

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

  test("for a refill only where that pool has cooled down", async () => {
    using under = new PoolsUnderTest({ instances: 2 });
    const greedy = functionOf("a", { warm_min: 2, idle_ttl_ms: 1_000_000 });
    await under.warm(b);
    await under.clock.advance(9_000);
    under.pools.update(greedy);
    await under.succeedAll();
    expect(under.pools.stateOf("b")).toMatchObject({ ready: 1 });
    expect(under.pools.stateOf("a")).toMatchObject({ ready: 1, target: 2 });
    await under.clock.advance(1_000);
    const { instance, leave } = await under.acquire(a);
    instance.retire();
    leave();
    await under.succeedAll();
    expect(under.pools.stateOf("a")).toMatchObject({ ready: 2 });
    expect(under.pools.stateOf("b")).toMatchObject({ ready: 0, target: 1 });
  });

  test("for no refill at the cost of a pool that was called since", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    await under.warm(a);
    await under.clock.advance(60_000);
    under.pools.update(b);
    await under.succeedAll();
    expect(under.pools.stateOf("b").ready).toBe(1);
    await under.clock.advance(60_000);
    expect(under.pools.stateOf("b").ready).toBe(1);
    expect(under.pools.stateOf("a")).toMatchObject({ ready: 0, target: 1 });
  });

  test("without holding up the refill of a pool behind one that finds none", async () => {
    using under = new PoolsUnderTest({ instances: 2 });
    await under.warm(a);
    await under.clock.advance(20_000);
    await under.warm(functionOf("b", { warm_min: 2 }));
    expect(under.pools.stateOf("b").ready).toBe(2);
    // a wants one and has nobody to take it from; c does, behind it.
    await under.clock.advance(20_000);
    under.pools.update(c);
    await under.succeedAll();
    expect(under.pools.stateOf("a")).toMatchObject({ ready: 0, target: 1 });
    expect(under.pools.stateOf("c").ready).toBe(1);
  });

  test("never at the cost of a busy instance, and starts the call when one is gone", async () => {
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

  test("with nobody's instance where that would not be enough", async () => {
    using under = new PoolsUnderTest({ memory_bytes: 300 });
    const small = (id: string) => functionOf(id, { memory_bytes: 100 });
    await under.warm(small("a"));
    await under.warm(small("b"));
    await under.acquire(small("a"));
    void under.acquire(functionOf("c", { memory_bytes: 250 }));
    await under.clock.advance(5_000);
    expect(under.starts).toEqual([]);
    expect(under.pools.stateOf("b").ready).toBe(1);
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
