import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { someInvocation, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { again, cancelled, claimNext, LEASE_MS, newWork, success } from "./records.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe.each(MAKERS)("StatsStore of $name", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const save = (id: string, fields: Partial<Invocation> = {}) =>
    store.history.save([{ invocation: someInvocation(id, { finished_at: timestamp(START), ...fields }) }]);
  const countAll = async (batch = 100) => {
    let counted = 0;
    for (;;) {
      const one = await store.stats.count(batch);
      counted += one.counted;
      if (one.left === "nothing") return counted;
    }
  };
  /** Calls by when their minute, or their hour, begins: in minutes from the beginning of the test. */
  const calls = async (function_id: string | null = null, resolution: "minute" | "hour" = "minute") => {
    const buckets = await store.stats.read({ function_id, resolution, since: 0, until: 1e14 });
    return Object.fromEntries(
      buckets.map(({ at, tally }) => [
        (at - START) / MINUTE,
        Object.values(tally.ends).reduce((sum, count) => sum + count, 0),
      ]),
    );
  };

  test("counts a call once, however often its record is written", async () => {
    await save("a", { status: "running", finished_at: null });
    expect(await countAll()).toBe(0);
    for (const run_ms of [1, 2, 3]) await save("a", { run_ms });
    expect(await countAll()).toBe(1);
    await save("a", { run_ms: 4 });
    await store.history.markUndelivered("a", "client_closed");
    expect(await countAll()).toBe(0);
    expect(await calls()).toEqual({ 0: 1 });
  });

  test("counts by function and in all, by minute and by hour of the end", async () => {
    await save("a", { finished_at: timestamp(START + 30_000) });
    await save("b", { finished_at: timestamp(START + 59_999), function_id: "f2" });
    await save("c", { finished_at: timestamp(START + MINUTE) });
    await save("d", { finished_at: timestamp(START - 1), created_at: timestamp(START - 40 * HOUR) });
    expect(await countAll(2)).toBe(4);
    expect(await calls()).toEqual({ "-1": 1, 0: 2, 1: 1 });
    expect(await calls(null, "hour")).toEqual({ "-60": 1, 0: 3 });
    expect(await calls("f1")).toEqual({ "-1": 1, 0: 1, 1: 1 });
    expect(await calls("f2", "hour")).toEqual({ 0: 1 });
    expect(await calls("f3")).toEqual({});
  });

  test("reads the range that it is asked for", async () => {
    for (const minute of [0, 1, 2, 3]) await save(`m${minute}`, { finished_at: timestamp(START + minute * MINUTE) });
    await countAll();
    const range = {
      function_id: null,
      resolution: "minute",
      since: START + MINUTE,
      until: START + 3 * MINUTE,
    } as const;
    expect((await store.stats.read(range)).map(({ at }) => at)).toEqual([START + MINUTE, START + 2 * MINUTE]);
  });

  test("counts what asynchronous calls come to, when they end", async () => {
    for (const id of ["done", "retried", "cancelled"]) await store.ledger.submit(newWork(id));
    const lease = { now: START, until: START + LEASE_MS };
    for (let left = 2; left > 0; left--) {
      const claimed = await claimNext(store.ledger, "f1", lease);
      if (claimed === null) throw new Error("nothing was ready");
      const end = claimed.invocation.id === "done" ? success(claimed, [], START + 5 * MINUTE) : again(claimed, START);
      await store.ledger.end(end);
    }
    expect(await countAll()).toBe(1);
    expect(await calls()).toEqual({ 5: 1 });
    const standing = await store.ledger.find("cancelled");
    if (standing === undefined) throw new Error("not found");
    await store.ledger.cancelUnattended(cancelled(standing, START + 6 * MINUTE));
    expect(await countAll()).toBe(1);
    expect(await calls()).toEqual({ 5: 1, 6: 1 });
  });

  test("counts what an earlier server left running", async () => {
    await save("a", { status: "running", finished_at: null });
    await store.history.markLost(START + MINUTE);
    expect(await countAll()).toBe(1);
    const [bucket] = await store.stats.read({ function_id: null, resolution: "hour", since: 0, until: 1e14 });
    expect([bucket?.tally.ends.failed, bucket?.tally.reasons]).toEqual([1, new Map([["instance_lost", 1]])]);
  });

  test("counts what the retention removes before anyone has counted it, and nothing twice", async () => {
    for (const id of ["a", "b", "c"]) await save(id);
    await store.stats.count(1);
    expect(await store.history.prune({ before: START + 1, keep: 0, batch: 2 })).toBe(2);
    expect(await calls()).toEqual({ 0: 2 });
    expect(await store.history.prune({ before: START + 1, keep: 0, batch: 2 })).toBe(1);
    expect(await countAll()).toBe(0);
    expect(await calls()).toEqual({ 0: 3 });
  });

  test("does not count what was removed without having ended, or by name", async () => {
    await save("a", { status: "running", finished_at: null });
    await save("b");
    for (const id of ["a", "b"]) await store.history.remove(id);
    await countAll();
    expect(await calls()).toEqual({});
  });

  test("takes back what ended while the clock was ahead", async () => {
    const ahead = START + 300 * 24 * HOUR;
    await save("before");
    await save("ahead", { finished_at: timestamp(ahead) });
    await save("later", { finished_at: timestamp(ahead + MINUTE), function_id: "f2" });
    await store.stats.count(2);
    const now = START + 90 * MINUTE;
    while ((await store.ledger.takeBack(now)) > 0);
    await countAll();
    expect(await calls()).toEqual({ 0: 1, 90: 2 });
    expect(await calls(null, "hour")).toEqual({ 0: 1, 60: 2 });
    expect(await calls("f2")).toEqual({ 90: 1 });
  });

  test("writes nothing if there is nothing to count", async () => {
    await save("a");
    expect(await store.stats.count(10)).toEqual({ counted: 1, left: "nothing" });
    expect(await store.stats.count(10)).toEqual({ counted: 0, left: "nothing" });
  });
});
