import { describe, expect, test } from "bun:test";
import { functionOf, PoolsUnderTest } from "./fake-instances.ts";

const a = functionOf("a");
const next = { ...a, version: 2, image_id: "sha256:2" };

describe("Pools.update with another version", () => {
  test("makes one new instance ready and retires the old ones", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    under.pools.update(next);
    expect(under.alive).toEqual([]);
    await under.succeedAll();
    expect(under.alive.map((instance) => instance.function.version)).toEqual([2]);
    await under.clock.advance(1_000);
    expect(under.pools.statesOf("a")).toEqual([{ version: 2, ready: 1, starting: 0, busy: 0, target: 1 }]);
    expect(under.emptied).toEqual(["a"]);
  });

  test("keeps the instances and the waiting calls if the change does not affect them", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    const [kept] = under.instances;
    const taken = await under.acquire(a);
    const waiting = under.acquire(a);
    under.pools.update({ ...a, version: 2, timeout_ms: 7 });
    expect(taken.instance).toBe(kept ?? taken.instance);
    await under.succeedAll();
    expect((await waiting).instance.function.version).toBe(1);
    expect(under.pools.statesOf("a").map(({ version }) => version)).toEqual([2]);
    expect(under.emptied).toEqual([]);
  });

  test("serves a call with the version that it came with, wherever it waits by then", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 9 });
    const waiting = under.acquire(a);
    under.pools.update(next);
    // Admitted before the change, and only here after it.
    const late = under.acquire(a);
    const fresh = under.acquire(next);
    await under.succeedAll();
    expect((await waiting).instance.function.version).toBe(1);
    expect((await late).instance.function.version).toBe(1);
    expect((await fresh).instance.function.version).toBe(2);
    for (const one of [waiting, late]) {
      const { instance, leave } = await one;
      leave();
      instance.retire();
    }
    await under.clock.advance(1_000);
    expect(under.pools.statesOf("a").map(({ version }) => version)).toEqual([2]);
  });

  test("gives a late call an instance of the new version if both make the same container", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    under.pools.update({ ...a, version: 2, timeout_ms: 7 });
    expect((await under.acquire(a)).start).toBe("warm");
    expect(under.pools.statesOf("a").map(({ version }) => version)).toEqual([2]);
  });

  test("makes as many instances ready as the calls so far require", async () => {
    using under = new PoolsUnderTest();
    const calls = [under.acquire(a), under.acquire(a), under.acquire(a)];
    await under.succeedAll();
    for (const one of calls) {
      const { instance, leave } = await one;
      leave();
      instance.retire();
    }
    await under.succeedAll();
    const { target } = under.stateOf("a");
    expect(target).toBeGreaterThan(2);
    under.pools.update(next);
    await under.succeedAll();
    expect(under.pools.statesOf("a")).toContainEqual({ version: 2, ready: target, starting: 0, busy: 0, target });
  });

  test("keeps the pool of an old version that routes still name", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    const [old] = under.instances;
    under.pools.update(next, [a]);
    await under.succeedAll();
    expect(under.pools.statesOf("a").map(({ version, ready }) => [version, ready])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    const { instance, start } = await under.acquire(a);
    expect([instance, start]).toEqual([old ?? instance, "warm"]);
  });
});

describe("Pools.name", () => {
  test("makes one instance of a version that routes name ready, once, and retires it with the last of these routes", async () => {
    using under = new PoolsUnderTest();
    await under.warm(next);
    under.pools.name(next, [a]);
    await under.succeedAll();
    expect(under.alive.map((instance) => instance.function.version)).toEqual([2, 1]);
    await under.clock.advance(a.idle_ttl_ms + 2_000);
    under.pools.name(next, [a]);
    expect(under.starts).toEqual([]);
    (await Promise.all([under.acquire(a), under.succeedAll()]))[0].leave();
    under.pools.name(next, []);
    under.alive.forEach((instance) => instance.retire());
    await under.clock.advance(60_000);
    expect(under.pools.statesOf("a")).toEqual([]);
  });

  test("keeps a version that was about to be retired", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    const { instance, leave } = await under.acquire(a);
    under.pools.update(next);
    under.pools.name(next, [a]);
    leave();
    instance.retire();
    await under.clock.advance(20);
    await under.succeedAll();
    expect(new Set(under.alive.map((instance) => instance.function.version))).toEqual(new Set([1, 2]));
  });

  test("starts nothing for a deleted function", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    under.pools.remove("a");
    under.pools.name(next, [a]);
    await under.succeedAll();
    expect(under.alive).toEqual([]);
  });
});
