import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { AttemptId, Claimed } from "../../../lib/store/ledger.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { someFunction, someInvocation, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { again, claimNext, LEASE_MS, newWork, success } from "./records.ts";

/** Commands for several servers, as the only one sees them. tests/store/postgres/across.test.ts has two. */
describe.each(MAKERS)("Commands for other servers of $name", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const claimed = async (functionId = "f1", now = START): Promise<Claimed> => {
    const found = await claimNext(store.ledger, functionId, { now, until: now + LEASE_MS });
    if (found === null) throw new Error("nothing was ready");
    return found;
  };
  const attemptOf = ({ work }: Claimed): AttemptId => ({ invocation_id: work.invocation_id, attempt: work.attempts });

  test("a ledger is shared if there are notices and shared places of other servers", () => {
    expect([store.notices !== null, store.sharedPlaces !== null]).toEqual([
      store.ledger.isShared,
      store.ledger.isShared,
    ]);
  });

  test("askToCancel: no other server attempts what is queued, waiting, attempted here, lost, ended or unknown", async () => {
    await store.ledger.submit(newWork("ended", { function_id: "f2" }));
    await store.ledger.end(success(await claimed("f2")));
    await store.ledger.submit(newWork("lost", { function_id: "f3" }));
    await claimed("f3");
    await store.ledger.loseMine();
    await store.ledger.submit(newWork("queued"));
    await store.ledger.submit(newWork("waiting", { due: START + 1_000 }));
    await store.ledger.submit(newWork("own", { function_id: "f4" }));
    const own = await claimed("f4");
    for (const id of ["ended", "lost", "queued", "waiting", "own", "unknown"])
      expect(await store.ledger.askToCancel(id)).toBe(false);
    expect(await store.ledger.toEnd([attemptOf(own)])).toEqual({ cancelled: [], lost: [] });
  });

  test("toEnd: an attempt is lost once it no longer has the lease, and not before", async () => {
    expect(await store.ledger.toEnd([])).toEqual({ cancelled: [], lost: [] });
    for (const id of ["standing", "ended", "repeated", "lost"])
      await store.ledger.submit(newWork(id, { function_id: id }));
    const [ended, repeated, lost] = [await claimed("ended"), await claimed("repeated"), await claimed("lost")];
    const all = [ended, repeated, lost].map(attemptOf);
    expect(await store.ledger.toEnd(all)).toEqual({ cancelled: [], lost: [] });
    await store.ledger.loseMine();
    await store.ledger.release([success(lost)]);
    const standing = await claimed("standing");
    await store.ledger.end(success(ended));
    await store.ledger.end(again(repeated, START));
    await store.ledger.wake(START);
    const { cancelled, lost: found } = await store.ledger.toEnd([...all, attemptOf(standing)]);
    expect(cancelled).toEqual([]);
    expect(found.toSorted()).toEqual(["ended", "lost", "repeated"]);
    const unknown = { invocation_id: "unknown", attempt: 1 };
    const next = { ...attemptOf(standing), attempt: standing.work.attempts + 1 };
    expect((await store.ledger.toEnd([unknown, next])).lost.toSorted()).toEqual(["standing", "unknown"]);
  });

  test("writtenElsewhere: what this server has written is not among it", async () => {
    await store.history.save([{ invocation: someInvocation("sync", { status: "running", finished_at: null }) }]);
    await store.ledger.submit(newWork("queued"));
    await store.ledger.submit(newWork("own", { function_id: "f2" }));
    await claimed("f2");
    expect(await store.history.writtenElsewhere(["sync", "queued", "own", "unknown"])).toEqual([]);
    expect(await store.history.writtenElsewhere([])).toEqual([]);
  });

  test("follow: this server's own changes are no news", async () => {
    const news: unknown[] = [];
    store.functions.follow((changed) => news.push(changed));
    store.schedules.follow((ids) => news.push(ids));
    store.secrets.follow((name) => news.push(name));
    await store.functions.insert(someFunction("f1"));
    await store.secrets.put({ name: "s", value: "v", bytes: 1, created_at: "", updated_at: "" });
    await store.functions.delete("f1", { cascade: false });
    expect(news).toEqual([]);
  });

  test("sharedPlaces: one server gets as many as there are, gives them back, and has none after it has cleared them", async () => {
    const { sharedPlaces } = store;
    if (sharedPlaces === null) return;
    const set = (count: number, now = START) =>
      sharedPlaces.set("f1", { places: count, most: 3, now, until: now + LEASE_MS });
    expect([await set(2), await set(2), await set(5), await set(0), await set(1)]).toEqual([2, 2, 3, 0, 1]);
    await sharedPlaces.clear();
    expect(await set(9)).toBe(3);
  });
});
