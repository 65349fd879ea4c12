import { describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { settled } from "../../support/fake-clock.ts";
import { failureOf, type FakeInstance, functionOf, PoolsUnderTest } from "./fake-instances.ts";

const boom = new Error("boom");

function server(settings: Partial<Function> = {}): Function {
  return functionOf("a", { contract: "http", max_calls: 0, concurrency: 3, warm_max: 3, ...settings });
}

/** Makes calls that come at once. */
async function call(under: PoolsUnderTest, fn: Function, count: number) {
  const calls = await Promise.all(Array.from({ length: count }, () => under.acquire(fn)));
  for (const { instance } of calls) instance.state = "busy";
  return calls;
}

/** Ends a call of an instance, which serves others or none. */
function end(
  under: PoolsUnderTest,
  { instance, leave }: { instance: FakeInstance; leave: () => void },
  others = 0,
): void {
  leave();
  if (others === 0) instance.state = "ready";
  under.pools.giveBack(instance);
}

describe("Pools of instances that serve several calls at once", () => {
  test("give calls that come to a busy instance its free streams, and start another only beyond them", async () => {
    using under = new PoolsUnderTest();
    const fn = server();
    await under.warm(fn);
    const calls = await call(under, fn, 3);
    expect(new Set(calls.map(({ instance }) => instance)).size).toBe(1);
    expect(under.stateOf("a")).toMatchObject({ ready: 0, busy: 1, streams: 3, starting: 0 });
    const next = under.acquire(fn);
    await settled();
    expect(under.starts).toEqual(["a"]);
    await under.succeed();
    expect((await next).instance).not.toBe(calls[0]?.instance);
    expect(under.stateOf("a")).toMatchObject({ busy: 2, streams: 4 });
  });

  test("start one instance for as many waiting calls as it serves", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 10 });
    const fn = server();
    const calls = Array.from({ length: 7 }, () => under.acquire(fn));
    await settled();
    expect(under.starts.length).toBe(3);
    await under.succeed();
    await under.succeed();
    await under.succeed();
    const instances = (await Promise.all(calls)).map(({ instance }) => instance);
    expect(under.instances.map((one) => instances.filter((other) => other === one).length)).toEqual([3, 3, 1]);
  });

  test("give a call to the instance with the fewest", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ warm_min: 2 });
    await under.warm(fn);
    const [first, second, third] = await call(under, fn, 3);
    expect(second?.instance).not.toBe(first?.instance);
    const fewer = third?.instance === first?.instance ? second : first;
    expect((await under.acquire(fn)).instance).toBe(fewer?.instance as never);
  });

  test("give a stream that becomes free to the call that has waited longest", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    const fn = server();
    await under.warm(fn);
    const [one] = await call(under, fn, 3);
    const waiting = [under.acquire(fn), under.acquire(fn)];
    await settled();
    if (one !== undefined) end(under, one, 2);
    expect((await waiting[0])?.instance).toBe(one?.instance as never);
    expect(under.stateOf("a")).toMatchObject({ streams: 3 });
  });

  test("let an instance that has had its last call serve those that it has, and replace it meanwhile", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ max_calls: 2 });
    await under.warm(fn);
    const [one, two] = await call(under, fn, 2);
    const third = under.acquire(fn);
    await under.clock.advance(20);
    // One for the call, and one as the peak was three calls: an instance that takes no more calls counts for nothing.
    expect(under.starts).toEqual(["a", "a"]);
    await under.succeed();
    expect((await third).instance).not.toBe(one?.instance);
    one?.leave();
    if (one !== undefined) under.pools.giveBack(one.instance, false);
    expect(one?.instance.state).toBe("busy");
    two?.leave();
    if (two !== undefined) under.pools.giveBack(two.instance, false);
    expect(two?.instance.state).toBe("retired");
  });

  test("drain at a change: calls under way end, new ones get a new instance, and the old one ends with its last call", async () => {
    using under = new PoolsUnderTest();
    const fn = server();
    await under.warm(fn);
    const [one, two] = await call(under, fn, 2);
    const changed = { ...fn, version: 2, image_id: "sha256:2" };
    under.pools.update(changed);
    const next = under.acquire(changed);
    await settled();
    expect(under.launching.at(-1)?.function.version).toBe(2);
    await under.succeed();
    expect((await next).instance.function.version).toBe(2);
    if (one !== undefined) end(under, one, 1);
    expect(one?.instance.state).toBe("busy");
    if (two !== undefined) end(under, two);
    expect(two?.instance.state).toBe("retired");
  });

  test("drain at a renewal, and retire those that are ready at once", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ warm_min: 2 });
    await under.warm(fn);
    const [one] = await call(under, fn, 1);
    under.pools.renew(({ function: { id } }) => id === "a");
    expect(under.alive).toEqual(one === undefined ? [] : [one.instance]);
    const next = under.acquire(fn);
    await under.succeedAll();
    expect((await next).instance).not.toBe(one?.instance);
    if (one !== undefined) end(under, one);
    expect(one?.instance.state).toBe("retired");
  });

  test("skip an instance that drains by itself, and let it serve the calls that it has", async () => {
    using under = new PoolsUnderTest();
    const fn = server();
    await under.warm(fn);
    const [one] = await call(under, fn, 2);
    if (one !== undefined) one.instance.state = "draining";
    const next = under.acquire(fn);
    await settled();
    expect(under.starts).toEqual(["a"]);
    await under.succeed();
    expect((await next).instance).not.toBe(one?.instance);
    expect(one?.instance.state).toBe("draining");
  });

  test("never evict an instance that serves a call", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    const fn = server();
    await under.warm(fn);
    const [one] = await call(under, fn, 1);
    const other = under.acquire(functionOf("b"));
    await settled();
    expect([one?.instance.state, under.starts]).toEqual(["busy", []]);
    if (one !== undefined) end(under, one);
    await under.succeedAll();
    expect((await other).instance.function.id).toBe("b");
  });

  test("take an instance from a pool that never rests for a call of another that has waited long enough", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    const fn = server();
    await under.warm(fn);
    const calls = await call(under, fn, 2);
    const other = under.acquire(functionOf("b"));
    await under.clock.advance(5_000);
    for (const [index, one] of calls.entries()) end(under, one, calls.length - 1 - index);
    await under.succeedAll();
    expect((await other).instance.function.id).toBe("b");
  });

  test("keep as many ready as the recent peak needs instances, not calls", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ concurrency: 2, warm_max: 10 });
    const calls = Array.from({ length: 5 }, () => under.acquire(fn));
    await under.succeedAll();
    for (const { leave } of await Promise.all(calls)) leave();
    expect(under.stateOf("a").target).toBe(3);
  });

  test("refund a stream that its caller never used", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ max_calls: 2, concurrency: 2 });
    const caller = new AbortController();
    const gone = under.acquire(fn, caller.signal);
    const stays = under.acquire(fn);
    await settled();
    under.launching[0]?.succeed();
    caller.abort(boom);
    expect(await failureOf(gone)).toBe(boom);
    const { instance } = await stays;
    instance.state = "busy";
    expect((await under.acquire(fn)).instance).toBe(instance);
  });
});

describe("Pools of functions that boot", () => {
  test("do not keep the starts of others waiting for a boot", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 1 });
    const slow = under.acquire(server());
    const other = under.acquire(functionOf("b"));
    await settled();
    expect(under.starts).toEqual(["a"]);
    under.launching[0]?.boot();
    expect(under.starts).toEqual(["a", "b"]);
    expect(under.stateOf("a")).toMatchObject({ starting: 0, booting: 1 });
    await under.succeed("b");
    expect((await other).start).toBe("cold");
    await under.succeed("a");
    expect((await slow).start).toBe("cold");
    expect(under.stateOf("a")).toMatchObject({ starting: 0, booting: 0, busy: 1 });
  });

  test.each<[string, (under: PoolsUnderTest, fn: Function) => void, number]>([
    ["deleted", ({ pools }, { id }) => pools.remove(id), 0],
    ["changed", ({ pools }, fn) => pools.update({ ...fn, image_id: "sha256:2", version: 2 }), 1],
    ["renewed", ({ pools }) => pools.renew(() => true), 1],
  ])("give up a boot of a function that is %s, since it may take a minute", async (_, happens, next) => {
    using under = new PoolsUnderTest();
    const fn = server();
    under.pools.update(fn);
    await under.clock.advance(20);
    under.launching[0]?.boot();
    const [old] = under.launching;
    happens(under, fn);
    await settled();
    expect(under.launching).not.toContain(old);
    expect([under.launching.length, under.capacity.instances]).toEqual([next, next]);
    expect(under.stateOf("a")).not.toHaveProperty("problem");
    expect(under.logged).toEqual([]);
  });

  test("give up a boot that comes after its function is gone, and keep one that a call waits for while it does", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ concurrency: 1 });
    const caller = new AbortController();
    const calls = [under.acquire(fn), under.acquire(fn, caller.signal)];
    await settled();
    expect(under.starts).toEqual(["a", "a"]);
    const [first, second] = under.launching;
    first?.boot();
    second?.boot();
    under.pools.remove(fn.id);
    await settled();
    expect(under.launching).toEqual([expect.anything(), expect.anything()]);
    caller.abort();
    await under.clock.advance(1_000);
    expect(under.launching).toHaveLength(1);
    await under.succeed();
    expect((await calls[0])?.start).toBe("cold");
    expect(await failureOf(calls[1])).toBe(caller.signal.reason);
    under.pools.update({ ...server(), id: "b" });
    await under.clock.advance(20);
    expect(under.starts).toEqual(["b"]);
    under.pools.remove("b");
    under.launching[0]?.boot();
    await settled();
    expect(under.launching).toEqual([]);
  });

  test("give up the second try of a boot that was given up when its first container was lost", async () => {
    using under = new PoolsUnderTest();
    const fn = server();
    under.pools.update(fn);
    await under.clock.advance(20);
    const [start] = under.launching;
    start?.boot(false);
    under.pools.remove(fn.id);
    await settled();
    expect(under.launching).toHaveLength(1);
    start?.boot();
    await settled();
    expect(under.launching).toEqual([]);
  });

  test("say what is wrong with the last boot, fail the calls that it was for, and refill more slowly each time", async () => {
    using under = new PoolsUnderTest();
    const fn = server();
    under.pools.update(fn);
    await under.clock.advance(20);
    for (const pause of [1_000, 2_000, 4_000]) {
      under.launching[0]?.boot();
      await under.fail(new Error("it exited"));
      expect(under.stateOf("a")).toMatchObject({ booting: 0, problem: "it exited" });
      await under.clock.advance(pause - 1_000);
      expect(under.starts).toEqual([]);
      await under.clock.advance(2_000);
      expect(under.starts).toEqual(["a"]);
    }
    const calls = Array.from({ length: 3 }, () => under.acquire(fn));
    await settled();
    await under.fail(boom);
    expect(await Promise.all(calls.map(failureOf))).toEqual([boom, boom, boom]);
  });

  test("forget failures and start anew when they are renewed", async () => {
    using under = new PoolsUnderTest();
    under.pools.update(server());
    await under.clock.advance(20);
    await under.fail(boom);
    under.pools.renew(() => true);
    await under.clock.advance(20);
    expect(under.starts).toEqual(["a"]);
    expect(under.stateOf("a")).not.toHaveProperty("problem");
  });
});

describe("Pools.tryOut", () => {
  const never = new AbortController().signal;

  test("starts nothing besides, though the instance is for a single call", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ concurrency: 1, max_calls: 1 });
    under.pools.update(fn);
    const trial = under.pools.tryOut(fn, never);
    await under.clock.advance(20);
    expect(under.starts).toEqual(["a"]);
    await under.succeed();
    await trial;
    await under.clock.advance(1_000);
    expect(under.starts).toEqual([]);
    expect(under.stateOf("a")).toMatchObject({ ready: 1, busy: 0 });
  });

  test("waits for the instance that the registration starts, which stays for the first call", async () => {
    using under = new PoolsUnderTest();
    const fn = server();
    under.pools.update(fn);
    const trial = under.pools.tryOut(fn, never);
    await settled();
    expect(under.starts).toEqual(["a"]);
    const instance = await under.succeed();
    await trial;
    await under.clock.advance(1_000);
    expect(under.starts).toEqual([]);
    expect(await under.acquire(fn)).toMatchObject({ instance, start: "warm" });
  });

  test("boots one even if none is kept ready, and does not keep it", async () => {
    using under = new PoolsUnderTest();
    const fn = server({ warm_max: 0 });
    under.pools.update(fn);
    const trial = under.pools.tryOut(fn, never);
    await settled();
    const instance = await under.succeed();
    await trial;
    expect(instance.state).toBe("retired");
  });

  test("rejects with the error of the boot", async () => {
    using under = new PoolsUnderTest();
    const failure = failureOf(under.pools.tryOut(server(), never));
    await settled();
    await under.fail(boom);
    expect(await failure).toBe(boom);
  });

  test("ends when its signal aborts; the start goes on", async () => {
    using under = new PoolsUnderTest();
    const patience = new AbortController();
    const trial = under.pools.tryOut(server(), patience.signal);
    await settled();
    patience.abort(boom);
    expect(await failureOf(trial)).toBe(boom);
    await under.succeed();
    expect(under.stateOf("a")).toMatchObject({ ready: 1 });
  });
});
