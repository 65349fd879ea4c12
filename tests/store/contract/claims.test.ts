import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { timestamp } from "../../../lib/domain/types.ts";
import type { Turns } from "../../../lib/store/ledger.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { again, claimedOf, claimNext, LEASE_MS, newWork, success } from "./records.ts";

describe.each(MAKERS)("Claims of $name", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const claim = (functionId = "f1", now = START) => claimNext(store.ledger, functionId, { now, until: now + LEASE_MS });
  const claimed = (functionId?: string) => claimedOf(store.ledger, functionId);

  test("claim: the highest priority first, then the earliest due, of that function only", async () => {
    await store.ledger.submit(newWork("late", { at: START + 5 }));
    await store.ledger.submit(newWork("early", { at: START + 1 }));
    await store.ledger.submit(newWork("urgent", { at: START + 9, priority: 1 }));
    await store.ledger.submit(newWork("other", { function_id: "f2", priority: 9 }));
    await store.ledger.submit(newWork("waiting", { due: START + 60_000, priority: 9 }));
    const order: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const turns = { functions: [{ function_id: "f1", most: 1 }], limit: 1, urgent: 1 };
      const { claimed: taken, left } = await store.ledger.claim(turns, { now: START, until: START + LEASE_MS });
      order.push([taken.map(({ invocation }) => invocation.id), left]);
    }
    expect(order).toEqual([
      [["urgent"], [{ function_id: "f1", priority: 0 }]],
      [["early"], [{ function_id: "f1", priority: 0 }]],
      [["late"], []],
    ]);
    expect(await claim()).toBeNull();
  });

  test("claim: half of the turns go to the highest priorities, the others to the functions with the fewest, each up to its most", async () => {
    const submit = (function_id: string, count: number, priority: number) =>
      Promise.all(
        Array.from({ length: count }, (_, i) =>
          store.ledger.submit(
            newWork(`${function_id}-${i}`, { function_id, priority, due: START - 100 + i, at: START }),
          ),
        ),
      );
    await Promise.all([submit("a", 20, 0), submit("b", 20, 5), submit("c", 1, 0), submit("d", 20, 0)]);
    await store.ledger.submit(newWork("b-low", { function_id: "b", priority: -1 }));
    const claim = async (functions: Turns["functions"], limit: number, urgent: number) => {
      const found = await store.ledger.claim({ functions, limit, urgent }, { now: START, until: START + LEASE_MS });
      const left = found.left.toSorted((one, other) => (one.function_id < other.function_id ? -1 : 1));
      return { ids: found.claimed.map(({ invocation }) => invocation.id), left };
    };
    const all = ["a", "b", "c"].map((function_id) => ({ function_id, most: 10 }));
    expect(await claim(all, 6, 3)).toEqual({
      ids: ["b-0", "b-1", "b-2", "a-0", "c-0", "a-1"],
      left: [
        { function_id: "a", priority: 0 },
        { function_id: "b", priority: 5 },
      ],
    });
    const narrow = all.map((one) => ({ ...one, most: one.function_id === "b" ? 1 : 2 }));
    expect((await claim(narrow, 20, 10)).ids).toEqual(["b-3", "a-2", "a-3"]);
    expect((await claim([{ function_id: "unknown", most: 5 }], 5, 3)).ids).toEqual([]);
    expect(await claim([], 5, 3)).toEqual({ ids: [], left: [] });
    const rest = await claim([{ function_id: "b", most: 100 }], 100, 50);
    expect([rest.ids.length, rest.ids.at(-1), rest.left]).toEqual([17, "b-low", []]);
  });

  test("giveBack: it is as if the work had not been taken, unless the attempt has lost its lease", async () => {
    const before = { ...newWork("a", { priority: 2 }).invocation, reason: "overloaded" as const, message: "full" };
    await store.ledger.submit({ ...newWork("a"), invocation: before });
    await store.ledger.submit(newWork("b", { function_id: "f2" }));
    const [a, b] = [await claimed("f1"), await claimed("f2")];
    await store.ledger.loseMine();
    await store.ledger.giveBack([a]);
    expect((await store.ledger.find("a"))?.work.state).toBe("lost");
    await store.ledger.release([again(a, START), again(b, START)]);
    await store.ledger.wake(START);
    const [second, other] = [await claimed("f1"), await claimed("f2")];
    await store.ledger.giveBack([a, second, other]);
    const { work, invocation, attempt } = (await store.ledger.find("a")) ?? {};
    expect(work).toEqual({ ...second.work, state: "ready", attempts: 1, lease_until: null });
    expect(invocation).toMatchObject({ status: "queued", attempts: 1, run_at: timestamp(START) });
    expect(attempt).toMatchObject({ attempt: 1, status: "failed" });
    expect(await store.history.get("a")).toEqual(invocation);
    expect((await store.history.attempts("a")).map((one) => one.attempt)).toEqual([1]);
    expect(await store.ledger.end(success(second))).toBe(false);
    expect((await claimed("f1")).work.attempts).toBe(2);
  });

  test("claim: eight claimers at once share the work, some one by one, some in batches, and take nothing twice", async () => {
    const all = Array.from({ length: 200 }, (_, i) => newWork(`i${i}`, { function_id: `f${i % 3}`, priority: i % 4 }));
    await Promise.all(all.map((one) => store.ledger.submit(one)));
    const taken: string[] = [];
    const claimer = async (_: unknown, n: number) => {
      const limit = n % 2 === 0 ? 1 : 7;
      const functions = [0, 1, 2].map((i) => ({ function_id: `f${(i + n) % 3}`, most: limit }));
      for (;;) {
        const found = await store.ledger.claim(
          { functions, limit, urgent: 1 },
          { now: START, until: START + LEASE_MS },
        );
        if (found.claimed.length === 0) return;
        taken.push(...found.claimed.map(({ invocation }) => invocation.id));
        for (const one of found.claimed) expect(await store.ledger.end(success(one))).toBe(true);
      }
    };
    await Promise.all(Array.from({ length: 8 }, claimer));
    expect(taken).toHaveLength(200);
    expect(new Set(taken).size).toBe(200);
    expect(await store.ledger.count()).toBe(0);
  });
});
