import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { LONGEST_LEASE_MS } from "../../../lib/domain/limits.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { someInvocation, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { again, claimNext, LEASE_MS, newWork, success } from "./records.ts";

// EDGE.md E2.
describe.each(MAKERS)("Ledger of $name, after a clock that was ahead for a year: takeBack", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const AHEAD = START + 365 * 24 * 3_600_000;
  const claim = () => claimNext(store.ledger, "f1", { now: AHEAD, until: AHEAD + LEASE_MS });
  const taken = async () => {
    let count = 0;
    for (let one = await store.ledger.takeBack(START); one > 0; one = await store.ledger.takeBack(START)) count += one;
    return count;
  };

  test("a wait begins now, one for a moment that was named stays, and so does one that is right", async () => {
    await store.ledger.submit({ ...newWork("delayed", { at: AHEAD, due: AHEAD + 5_000 }), waits_since: AHEAD });
    await store.ledger.submit(newWork("named", { at: AHEAD, due: AHEAD + 5_000 }));
    await store.ledger.submit({ ...newWork("right", { due: START + 9_000 }), waits_since: START });
    expect(await taken()).toBe(1);
    expect((await store.ledger.find("delayed"))?.work).toMatchObject({ due: START + 5_000, waits_since: START });
    expect(await store.history.get("delayed")).toMatchObject({ run_at: new Date(START + 5_000).toISOString() });
    expect((await store.ledger.find("named"))?.work.due).toBe(AHEAD + 5_000);
    expect((await store.ledger.find("right"))?.work.due).toBe(START + 9_000);
    expect(await store.ledger.wake(START + 5_000)).toHaveLength(1);
  });

  test("an attempt that failed is made again after its wait", async () => {
    await store.ledger.submit(newWork("a", { at: AHEAD }));
    const found = await claim();
    if (found === null) throw new Error("nothing was ready");
    await store.ledger.end(again(found, AHEAD + 60_000, AHEAD));
    expect(await taken()).toBe(1);
    expect(await store.ledger.nextDue()).toBe(START + 60_000);
  });

  test("a lost lease ends when its function has ended for certain", async () => {
    await store.ledger.submit(newWork("a", { at: AHEAD }));
    await claim();
    await store.ledger.loseMine();
    expect(await taken()).toBe(1);
    expect(await store.ledger.lost(START)).toEqual([]);
    expect(await store.ledger.lost(START + LONGEST_LEASE_MS)).toHaveLength(1);
  });

  test("a key is forgotten after a day", async () => {
    await store.ledger.submit(newWork("a", { at: AHEAD }), { key: "k", request_hash: "one", now: AHEAD });
    expect(await taken()).toBe(1);
    expect(await store.ledger.forgetKeys(START)).toBe(0);
    expect(await store.ledger.forgetKeys(START + 1)).toBe(1);
  });

  test("a delivery that waits is due now, and is tried as long as any other", async () => {
    await store.ledger.submit(newWork("a", { at: AHEAD, callback_url: "https://example.com/a" }));
    const found = await claim();
    if (found === null) throw new Error("nothing was ready");
    await store.ledger.end(success(found, [], AHEAD));
    const delivery = await store.history.delivery("a");
    if (delivery === undefined) throw new Error("no delivery");
    await store.ledger.saveDelivery({ ...delivery, due: AHEAD + 60_000, attempts: 1 });
    // With the end of its invocation.
    expect(await taken()).toBe(2);
    expect(await store.history.delivery("a")).toMatchObject({ due: START, since: START, attempts: 1 });
  });

  test("a record ages from now, and so the retention removes it", async () => {
    const finished_at = new Date(AHEAD).toISOString();
    await store.history.save([{ invocation: someInvocation("a", { created_at: finished_at, finished_at }) }]);
    expect(await taken()).toBe(1);
    const pruned = (before: number) => store.history.prune({ before, keep: 100, batch: 10 });
    expect(await pruned(START)).toBe(0);
    expect(await pruned(START + 1)).toBe(1);
  });

  test("many of them are taken back in batches", async () => {
    const all = Array.from({ length: 1_200 }, (_, i) =>
      store.ledger.submit({ ...newWork(`w${i}`, { at: AHEAD, due: AHEAD + 1 }), waits_since: AHEAD }),
    );
    await Promise.all(all);
    expect(await store.ledger.takeBack(START)).toBeLessThan(1_200);
    await taken();
    expect(await store.ledger.nextDue()).toBe(START + 1);
  });
});
