import { describe, expect, test } from "bun:test";
import { openSqliteStore, type SqliteStore } from "../../../../lib/store/sqlite/store.ts";
import type { NewInvocation } from "../../../../lib/store/ledger.ts";
import { claimNext, newWork, success } from "../../contract/records.ts";
import { listeningLog, someInvocation, START, stillClock } from "../support/stores.ts";

// B1: what is queued and kept has a budget of bytes.

/** The budget of these stores; a request of `SIZE` and its answer, and so on, fit into it four times. */
const BUDGET = 4_000;
const SIZE = 1_000;

function smallStore(): SqliteStore {
  return openSqliteStore(":memory:", { log: listeningLog().log, clock: stillClock(), queue_bytes: BUDGET });
}

function work(id: string, bytes = SIZE, callback_url: string | null = null): NewInvocation {
  const request = { request: Buffer.alloc(bytes), request_meta: null };
  return { ...newWork(id, { callback_url }), request };
}

/** Runs the next work of the function with an answer of so many bytes, and what follows. */
async function run(store: SqliteStore, bytes: number, submissions: readonly NewInvocation[] = []): Promise<string> {
  const claimed = await claimNext(store.ledger, "f1", { now: START, until: START + 1 });
  if (claimed === null) throw new Error("There is no work");
  const end = success(claimed, submissions);
  await store.ledger.end({ ...end, answer: { response: Buffer.alloc(bytes), response_meta: null } });
  return claimed.invocation.id;
}

const total = (store: SqliteStore) => store.tables.payloads.totals.bytes;
const rejection = (promise: Promise<unknown>) => promise.then(() => undefined).catch((error: unknown) => error);

describe("The budget of payloads", () => {
  test("refuses a request that does not fit with `storage_full`, says so, and leaves nothing of it", async () => {
    using store = smallStore();
    for (const id of ["a", "b", "c", "d"]) await store.ledger.submit(work(id));
    expect(await rejection(store.ledger.submit(work("e", 1)))).toMatchObject({
      reason: "storage_full",
      retry_after_s: 10,
      message: expect.stringContaining("take 4000 bytes at most (QUEUE_BYTES), and there is no room for 1 more"),
    });
    expect([total(store), await store.history.get("e")]).toEqual([BUDGET, undefined]);
  });

  test("counts replays and what a cancelled one leaves", async () => {
    using store = smallStore();
    for (const id of ["a", "b", "c"]) await store.ledger.submit(work(id));
    const { invocation } = newWork("again", { replay_of: "a" });
    await store.ledger.replayMany([{ invocation, request: { copy_of: "a" } }]);
    expect(total(store)).toBe(BUDGET);
    const replay = newWork("more", { replay_of: "b" });
    const more = { invocation: replay.invocation, request: { copy_of: "b" } };
    expect(await rejection(store.ledger.replayMany([more]))).toMatchObject({ reason: "storage_full" });
    await store.history.remove("a");
    expect(total(store)).toBe(BUDGET - SIZE);
  });

  /** A store with dead invocations of `SIZE` bytes that can be replayed, and their replays. */
  async function replayable(store: SqliteStore, count: number): Promise<NewInvocation[]> {
    const ids = Array.from({ length: count }, (_, n) => `dead-${n}`);
    for (const id of ids) await store.ledger.submit(work(id));
    return ids.map((id) => ({
      invocation: newWork(`again-${id}`, { replay_of: id }).invocation,
      request: { copy_of: id },
    }));
  }

  test("hundreds of replays let others write in between, and are queued once each", async () => {
    using store = openSqliteStore(":memory:", { log: listeningLog().log, clock: stillClock() });
    const replays = await replayable(store, 300);
    const replayed = Promise.all([store.ledger.replayMany(replays), store.ledger.replayMany(replays)]);
    await store.ledger.submit(work("other"));
    expect(await store.ledger.count()).toBeLessThan(600);
    const [first, second] = await replayed;
    expect(first.length + second.length).toBe(300);
    expect(new Set([...first, ...second].map(({ replay_of }) => replay_of)).size).toBe(300);
    expect(await store.ledger.count()).toBe(601);
  });

  test("replays that do not fit are refused as a whole", async () => {
    const stored = { log: listeningLog().log, clock: stillClock() };
    using store = openSqliteStore(":memory:", { ...stored, queue_bytes: 550 * SIZE });
    const replays = await replayable(store, 300);
    expect(await rejection(store.ledger.replayMany(replays))).toMatchObject({ reason: "storage_full" });
    expect([await store.ledger.count(), total(store)]).toEqual([300, 300 * SIZE]);
  });

  test("replays whose room goes to others meanwhile: those that are queued are returned", async () => {
    const stored = { log: listeningLog().log, clock: stillClock() };
    using store = openSqliteStore(":memory:", { ...stored, queue_bytes: 610 * SIZE });
    const replays = await replayable(store, 300);
    const replaying = store.ledger.replayMany(replays);
    await store.ledger.submit(work("other", 100 * SIZE));
    const replayed = await replaying;
    expect(replayed.length).toBeGreaterThan(0);
    expect(replayed.length).toBeLessThan(300);
    expect(await store.ledger.count()).toBe(301 + replayed.length);
    for (const { id } of replayed) expect((await store.history.get(id))?.status).toBe("queued");
  });

  test("answers push out the oldest ones, at most half of it is kept, and queued requests stay", async () => {
    using store = smallStore();
    for (const id of ["a", "b", "c"]) await store.ledger.submit(work(id, 500));
    for (let n = 0; n < 3; n++) {
      await run(store, 900);
      expect(total(store)).toBeLessThanOrEqual(BUDGET);
      expect(store.tables.payloads.totals.settled_bytes).toBeLessThanOrEqual(BUDGET / 2);
    }
    const kept = await Promise.all(["a", "b", "c"].map(async (id) => (await store.history.payload(id)) !== undefined));
    expect(kept).toEqual([false, false, true]);
    expect((await store.history.get("a"))?.status).toBe("succeeded");
  });

  test("an answer without room is not kept, and neither is what would follow", async () => {
    using store = smallStore();
    for (const id of ["a", "b", "c", "d"]) await store.ledger.submit(work(id));
    const id = await run(store, 5_000, [work("next", 5_000)]);
    expect(await store.history.payload(id)).toBeUndefined();
    expect((await store.history.get(id))?.status).toBe("succeeded");
    expect(await store.history.get("next")).toMatchObject({
      status: "dead",
      reason: "storage_full",
      message: "It never ran: there was no room for its request within QUEUE_BYTES",
    });
    expect(total(store)).toBe(3 * SIZE);
  });

  test("a result that is still to be sent is not pushed out, and is once it was", async () => {
    using store = smallStore();
    await store.ledger.submit(work("sent", 100, "https://example.com/"));
    await run(store, SIZE);
    expect(store.tables.payloads.totals).toEqual({ bytes: SIZE + 100, settled_bytes: 0 });
    const delivery = await store.history.delivery("sent");
    if (delivery === undefined) throw new Error("There is no delivery");
    await store.ledger.saveDelivery({ ...delivery, state: "delivered" });
    expect(store.tables.payloads.totals.settled_bytes).toBe(SIZE + 100);
    await store.ledger.resend("sent", START);
    expect(store.tables.payloads.totals.settled_bytes).toBe(0);
  });

  test("bodies of synchronous calls that do not fit are not kept, their records are", async () => {
    using store = smallStore();
    const payload = { request: Buffer.alloc(1_500), request_meta: null, response: null, response_meta: null };
    for (const id of ["a", "b"])
      await store.history.save([{ invocation: someInvocation(id), payload: { ...payload, invocation_id: id } }]);
    // Half of the budget is for what is kept.
    expect(total(store)).toBe(1_500);
    await store.ledger.submit(work("queued", 2_500));
    await store.ledger.submit(work("another", 0));
    store.tables.payloads.remove("b");
    await store.ledger.submit(work("more", SIZE));
    const last = { ...payload, invocation_id: "c" };
    await store.history.save([{ invocation: someInvocation("c"), payload: last }]);
    expect(await store.history.payload("c")).toBeUndefined();
    expect((await store.history.get("c"))?.id).toBe("c");
    expect(total(store)).toBeLessThanOrEqual(BUDGET);
  });
});
