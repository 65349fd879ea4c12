import { describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { totalsOf } from "../../../lib/runner/pool/figures.ts";
import { settled } from "../../support/fake-clock.ts";
import { failureOf, functionOf, PoolsUnderTest } from "./fake-instances.ts";

const a = functionOf("a");
const boom = new Error("boom");

describe("Pools.update", () => {
  test.each<Partial<Function>>([
    { image_id: "sha256:2" },
    { environment: { KEY: "value" } },
    { memory_bytes: 1 },
    { cpus: 2 },
    { pids: 5 },
    { context_bytes: 1 },
    { entrypoint: ["sh"] },
    { command: ["sh"] },
    { user: "1" },
    { working_dir: "/app" },
    { network: "none" },
    { sandbox: "docker" },
    { runtime: "runsc" },
    { labels: { team: "checkout" } },
    { max_calls: 7 },
    { read_only: true },
    { share_network: true },
  ])("retires ready instances that a change of %j affects, and starts a new one", async (change) => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    under.pools.update({ ...a, ...change });
    expect(under.alive).toEqual([]);
    await under.succeedAll();
    expect(under.alive).toHaveLength(1);
    expect(under.alive[0]?.function).toMatchObject(change);
  });

  test.each<Partial<Function>>([
    { name: "other" },
    { timeout_ms: 7 },
    { max_concurrency: 3 },
    { log_bytes: 3 },
    { warm_max: 3 },
    { idle_ttl_ms: 9_000 },
    { updated_at: "2027-01-01T00:00:00.000Z" },
  ])("keeps them if %j changes", async (change) => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    const [kept] = under.instances;
    under.pools.update({ ...a, ...change });
    await under.succeedAll();
    expect(under.alive).toEqual(kept ? [kept] : []);
  });

  test("fails no call: a running one ends normally, a waiting one gets a new instance", async () => {
    using under = new PoolsUnderTest({ starts_at_once: 3 });
    await under.warm(a);
    const running = await under.acquire(a);
    const waiting = under.acquire(a);
    await settled();
    under.pools.update({ ...a, image_id: "sha256:2" });
    expect(running.instance.state).toBe("ready");
    // The start before the change does not help, so another one has begun; its failure does no harm either.
    expect(under.launching.map((launch) => launch.function.image_id)).toEqual(["sha256:1", "sha256:2"]);
    await under.fail(boom);
    await under.succeed();
    const { instance } = await waiting;
    expect(instance.function.image_id).toBe("sha256:2");
    expect(under.stateOf("a").busy).toBe(2);
  });

  test("does not keep instances that were starting before", async () => {
    using under = new PoolsUnderTest();
    under.pools.update(a);
    under.pools.update({ ...a, image_id: "sha256:2" });
    const old = await under.succeed();
    expect(old.state).toBe("retired");
    await under.succeedAll();
    expect(under.alive.map((instance) => instance.function.image_id)).toEqual(["sha256:2"]);
    expect(under.capacity.instances).toBe(1);
  });

  test("warms a function that has not been called for a long time", async () => {
    using under = new PoolsUnderTest();
    const patient = functionOf("a", { warm_min: 1 });
    await under.warm(patient);
    await under.clock.advance(1_000_000);
    under.pools.update({ ...patient, warm_min: 0, memory_bytes: 1 });
    await under.succeedAll();
    expect(under.stateOf("a")).toMatchObject({ ready: 1, target: 1 });
  });

  test("forgets earlier failures", async () => {
    using under = new PoolsUnderTest();
    under.pools.update(a);
    await under.fail(boom);
    under.pools.update({ ...a, image_id: "sha256:2" });
    expect(under.starts).toEqual(["a"]);
  });

  test("retires surplus instances at once", async () => {
    using under = new PoolsUnderTest();
    const many = functionOf("a", { warm_min: 5 });
    await under.warm(many);
    const [oldest] = under.instances;
    under.pools.update({ ...many, warm_min: 4 });
    expect(under.alive).toHaveLength(4);
    expect(oldest?.state).toBe("retired");
    under.pools.update({ ...many, warm_min: 0, warm_max: 0 });
    expect(under.alive).toEqual([]);
  });
});

describe("Pools.giveBack", () => {
  const reused = functionOf("a", { max_calls: 0 });

  test("hands an instance to the call that has waited longest, else keeps it", async () => {
    using under = new PoolsUnderTest({ instances: 1 });
    const first = under.acquire(reused);
    await settled();
    const instance = await under.succeed();
    const { leave } = await first;
    const second = under.acquire(reused);
    leave();
    under.pools.giveBack(instance);
    expect((await second).instance).toBe(instance);
    expect(under.stateOf("a")).toMatchObject({ busy: 1, ready: 0 });
    under.pools.giveBack(instance);
    expect(under.stateOf("a")).toMatchObject({ busy: 0, ready: 1 });
    expect(under.instances).toHaveLength(1);
  });

  test("starts nothing for a call that comes while an instance cleans up, unless that fails", async () => {
    using under = new PoolsUnderTest();
    await under.warm(reused);
    const { instance, leave } = await under.acquire(reused);
    instance.state = "resetting";
    leave();
    const second = under.acquire(reused);
    await settled();
    expect(under.starts).toEqual([]);
    const third = under.acquire(reused);
    await settled();
    expect(under.starts).toEqual(["a"]);
    instance.state = "ready";
    under.pools.giveBack(instance);
    expect(await second).toMatchObject({ instance, start: "warm" });
    await under.succeed();
    (await third).instance.state = "resetting";
    const fourth = under.acquire(reused);
    await settled();
    expect(under.starts).toEqual([]);
    (await third).instance.retire();
    await settled();
    expect(under.starts).toEqual(["a"]);
    await under.succeed();
    expect((await fourth).start).toBe("cold");
  });

  test("retires an instance that is of an older generation, dead, or unknown", async () => {
    using under = new PoolsUnderTest({ instances: 4 });
    const calls = [under.acquire(reused), under.acquire(reused)];
    await under.succeedAll();
    const [old, dead] = await Promise.all(calls);
    dead?.instance.die();
    if (dead) under.pools.giveBack(dead.instance);
    under.pools.update({ ...reused, image_id: "sha256:2" });
    if (old) under.pools.giveBack(old.instance);
    expect(old?.instance.state).toBe("retired");
    old?.leave();
    dead?.leave();
    await under.succeedAll();
    expect(under.alive.map((instance) => instance.function.image_id)).toEqual(["sha256:2", "sha256:2"]);
    expect(under.capacity.instances).toBe(2);
    const known = under.alive[0];
    known?.retire();
    await settled();
    if (known) under.pools.giveBack(known);
    expect(under.stateOf("a").ready).toBe(1);
  });

  test("starts no replacement for an instance that will come back", async () => {
    using under = new PoolsUnderTest();
    await under.warm(reused);
    const { leave } = await under.acquire(reused);
    leave();
    await under.clock.advance(1_000);
    expect(under.starts).toEqual([]);
  });
});

describe("Pools.remove", () => {
  test("retires ready instances, ends no running call, and reports the end of the last one", async () => {
    using under = new PoolsUnderTest();
    await under.warm(functionOf("a", { warm_min: 2 }));
    const { instance, leave } = await under.acquire(a);
    under.pools.remove("a");
    expect(under.alive).toEqual([instance]);
    await under.clock.advance(10_000);
    expect(under.emptied).toEqual([]);
    leave();
    instance.retire();
    await under.clock.advance(1_000);
    expect(under.emptied).toEqual(["a"]);
    expect(under.starts).toEqual([]);
    expect(under.capacity.instances).toBe(0);
  });

  test("serves a call that waits, and keeps nothing afterwards, with or without reuse", async () => {
    for (const max_calls of [1, 0]) {
      using under = new PoolsUnderTest();
      const waiting = under.acquire(functionOf("a", { max_calls, warm_min: 3 }));
      await settled();
      under.pools.remove("a");
      await under.succeedAll();
      const { instance, leave } = await waiting;
      leave();
      if (max_calls === 0) under.pools.giveBack(instance);
      else instance.retire();
      await under.clock.advance(1_000);
      await under.succeedAll();
      expect(under.alive).toEqual([]);
      expect(under.capacity.instances).toBe(0);
      expect(under.emptied).toEqual(["a"]);
    }
  });

  test("keeps nothing if the call that waited went away", async () => {
    using under = new PoolsUnderTest();
    const caller = new AbortController();
    const waiting = under.acquire(a, caller.signal);
    under.pools.remove("a");
    caller.abort(boom);
    expect(await failureOf(waiting)).toBe(boom);
    await under.succeedAll();
    expect(under.alive).toEqual([]);
  });

  test("serves a call that was admitted before, but keeps no pool for it", async () => {
    using under = new PoolsUnderTest();
    const kept = functionOf("a", { warm_min: 2 });
    await under.warm(kept);
    under.pools.remove("a");
    await under.clock.advance(1_000);
    const late = under.acquire(kept);
    under.pools.update(kept);
    await settled();
    expect(under.starts).toEqual(["a"]);
    const instance = await under.succeed();
    const { leave } = await late;
    leave();
    instance.retire();
    await under.clock.advance(60_000);
    expect(under.starts).toEqual([]);
    expect(under.emptied).toEqual(["a", "a"]);
  });
});

describe("Pools without calls", () => {
  test("shrink to warm_min after idle_ttl_ms", async () => {
    using under = new PoolsUnderTest();
    const fn = functionOf("a", { warm_min: 1, idle_ttl_ms: 60_000 });
    await under.warm(fn);
    const calls = [under.acquire(fn), under.acquire(fn), under.acquire(fn)];
    await under.succeedAll();
    for (const one of calls) {
      const { instance, leave } = await one;
      leave();
      instance.retire();
    }
    await under.succeedAll();
    expect(under.stateOf("a").ready).toBeGreaterThanOrEqual(3);
    await under.clock.advance(61_000);
    expect(under.stateOf("a")).toEqual({ ready: 1, starting: 0, busy: 0, target: 1 });
    expect(under.emptied).toEqual([]);
  });

  test("end if no instance is to be kept, which is reported", async () => {
    using under = new PoolsUnderTest();
    await under.warm(a);
    await under.clock.advance(a.idle_ttl_ms + 1_000);
    await under.clock.advance(1_000);
    expect(under.alive).toEqual([]);
    expect(under.emptied).toEqual(["a"]);
    expect(totalsOf(under.pools.all)).toEqual({ ready: 0, starting: 0, booting: 0, busy: 0, streams: 0 });
    expect(under.clock.pending).toBe(1);
  });

  test("retire surplus instances, longest waiting first, a minute after a burst", async () => {
    using under = new PoolsUnderTest();
    const fn = functionOf("a", { max_calls: 0 });
    const calls = [under.acquire(fn), under.acquire(fn), under.acquire(fn)];
    await under.succeedAll();
    for (const one of calls) {
      const { instance, leave } = await one;
      leave();
      under.pools.giveBack(instance);
    }
    await under.clock.advance(45_000);
    expect(under.alive).toHaveLength(3);
    await under.clock.advance(25_000);
    expect(under.alive).toEqual(under.instances.slice(2));
  });
});

test("Pools.renew replaces the ready instances of a function without failing a call", async () => {
  using under = new PoolsUnderTest();
  await under.warm(a);
  const [before] = under.instances;
  const waiting = under.acquire(functionOf("b"));
  under.pools.renew(({ key }) => key === "a@1");
  under.pools.renew(() => false);
  expect(before?.state).toBe("retired");
  await under.succeedAll();
  (await waiting).leave();
  await under.succeedAll();
  expect(under.stateOf("a").ready).toBe(1);
});

test("Pools.totals and stateOf count all pools by state", async () => {
  using under = new PoolsUnderTest({ starts_at_once: 9 });
  await under.warm(functionOf("a", { warm_min: 2 }));
  await under.acquire(a);
  under.pools.update(functionOf("b", { warm_min: 3 }));
  await under.clock.advance(20);
  // One that a's call took is being replaced, and b's three are new.
  expect(totalsOf(under.pools.all)).toEqual({ ready: 1, starting: 4, booting: 0, busy: 1, streams: 0 });
  expect(under.stateOf("unknown")).toEqual({ ready: 0, starting: 0, busy: 0, target: 0 });
});
