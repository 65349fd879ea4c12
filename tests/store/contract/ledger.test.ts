import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { IDEMPOTENCY } from "../../../lib/domain/limits.ts";
import type { IdempotencyKey } from "../../../lib/store/ledger.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { expectWithin } from "../../support/pace.ts";
import { rejectionOf, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { again, cancelled, claimedOf, claimNext, LEASE_MS, newWork, success } from "./records.ts";

describe.each(MAKERS)("Ledger of $name", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const claim = (functionId = "f1", now = START) => claimNext(store.ledger, functionId, { now, until: now + LEASE_MS });
  const claimed = (functionId?: string) => claimedOf(store.ledger, functionId);
  const statusOf = async (id: string) => (await store.history.get(id))?.status;
  const statusesOf = (...ids: readonly string[]) => Promise.all(ids.map(statusOf));

  test("submit: accepted work is stored, with its request", async () => {
    const { invocation, request } = newWork("a", { priority: 3, due: START + 5 });
    expect(await store.ledger.submit({ invocation, request })).toEqual({ invocation, repeated: false });
    expect(await store.history.get("a")).toEqual(invocation);
    const payload = await store.history.payload("a");
    expect(payload).toMatchObject({ request_meta: null, response: null });
    expect(Buffer.from(payload?.request ?? []).toString()).toBe("the request of a");
    expect((await store.ledger.find("a"))?.work).toEqual({
      invocation_id: "a",
      function_id: "f1",
      state: "waiting",
      priority: 3,
      due: START + 5,
      attempts: 0,
      lost_attempts: 0,
      lease_until: null,
      waits_since: null,
    });
    expect(await store.ledger.count()).toBe(1);
  });

  test("submit: a key and its request return the first invocation for 24 hours, another request is refused", async () => {
    const key: IdempotencyKey = { key: "order-17", request_hash: "one", now: START };
    await store.ledger.submit(newWork("a"), key);
    expect(await store.ledger.submit(newWork("b"), key)).toMatchObject({ repeated: true, invocation: { id: "a" } });
    const other = store.ledger.submit(newWork("c"), { ...key, request_hash: "two" });
    expect(await rejectionOf(other)).toMatchObject({ reason: "idempotency_mismatch" });
    expect((await store.ledger.submit(newWork("d", { function_id: "f2" }), key)).repeated).toBe(false);
    const later = { ...key, now: START + IDEMPOTENCY.ttl_ms + 1 };
    expect((await store.ledger.submit(newWork("e"), later)).invocation.id).toBe("e");
    expect(await statusesOf("b", "c")).toEqual([undefined, undefined]);
  });

  test("submit: a key belongs to its caller, another one may use the same", async () => {
    const key: IdempotencyKey = { key: "order-17", request_hash: "one", now: START };
    const callers = [
      { key_id: null, route_id: null },
      { key_id: "server", route_id: null },
      { key_id: "k1", route_id: null },
      { key_id: "k2", route_id: null },
      { key_id: null, route_id: "r1" },
      { key_id: null, route_id: "r2" },
    ];
    for (const [i, caller] of callers.entries()) {
      const other = { ...key, request_hash: `of ${i}` };
      expect((await store.ledger.submit(newWork(`first ${i}`, caller), other)).repeated).toBe(false);
    }
    for (const [i, caller] of callers.entries()) {
      const same = { ...key, request_hash: `of ${i}` };
      expect((await store.ledger.submit(newWork(`second ${i}`, caller), same)).invocation.id).toBe(`first ${i}`);
    }
    // The same API key on a route and without one is one caller.
    const onRoute = store.ledger.submit(newWork("x", { key_id: "k1", route_id: "r1" }), key);
    expect(await rejectionOf(onRoute)).toMatchObject({ reason: "idempotency_mismatch" });
  });

  test("submit: a hundred concurrent ones with one key make one invocation", async () => {
    const key: IdempotencyKey = { key: "k", request_hash: "one", now: START };
    const began = performance.now();
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => store.ledger.submit(newWork(`i${i}`), key)));
    // They do not keep each other from the connections that they need.
    await expectWithin(performance.now() - began, 5_000);
    expect(new Set(all.map(({ invocation }) => invocation.id)).size).toBe(1);
    expect(all.filter(({ repeated }) => !repeated)).toHaveLength(1);
    expect(await store.ledger.count()).toBe(1);
  });

  test("forgetKeys: a key from before that moment can be used for another request", async () => {
    await store.ledger.submit(newWork("a"), { key: "k", request_hash: "one", now: START });
    expect(await store.ledger.forgetKeys(START)).toBe(0);
    expect(await store.ledger.forgetKeys(START + 1)).toBe(1);
    const other = await store.ledger.submit(newWork("b"), { key: "k", request_hash: "two", now: START });
    expect(other.repeated).toBe(false);
  });

  test("claim: records that the attempt has begun", async () => {
    await store.ledger.submit(newWork("a"));
    const { work, invocation, attempt } = await claimed();
    expect(work).toMatchObject({ state: "leased", attempts: 1, lease_until: START + LEASE_MS });
    expect(invocation).toMatchObject({ status: "running", attempts: 1, run_at: null });
    expect(attempt).toMatchObject({ attempt: 1, status: "running", finished_at: null });
    expect(await store.history.get("a")).toEqual(invocation);
    expect(await store.history.attempts("a")).toEqual([attempt]);
    expect(await store.ledger.find("a")).toEqual({ work, invocation, attempt });
  });

  test("end: a result is stored with its callback and its followers", async () => {
    await store.ledger.submit(newWork("a", { callback_url: "https://example.com/" }));
    const end = success(await claimed(), [newWork("next", { function_id: "f2", parent_id: "a" })]);
    expect(await store.ledger.end(end)).toBe(true);
    expect(await store.history.get("a")).toEqual(end.invocation);
    expect((await store.history.payload("a"))?.response).toEqual(new Uint8Array(Buffer.from("{}")));
    expect(await store.history.logs("a")).toEqual([{ stream: "stdout", text: "done\n" }]);
    expect(await store.history.attemptLogs("a", 1)).toEqual([{ stream: "stdout", text: "done\n" }]);
    expect(await store.history.attemptLogs("a", 2)).toBeUndefined();
    expect(await store.history.attempts("a")).toMatchObject([{ attempt: 1, status: "succeeded" }]);
    expect(await store.history.delivery("a")).toMatchObject({ url: "https://example.com/", state: "waiting" });
    expect((await claimed("f2")).invocation).toMatchObject({ id: "next", parent_id: "a" });
    expect(await store.ledger.find("a")).toBeUndefined();
  });

  test("end: all of it is written, or nothing", async () => {
    await store.ledger.submit(newWork("a", { callback_url: "https://example.com/" }));
    await store.ledger.submit(newWork("taken", { function_id: "f2" }));
    const end = success(await claimed(), [newWork("taken", { function_id: "f3" })]);
    expect(await rejectionOf(store.ledger.end(end))).toBeInstanceOf(Error);
    expect(await statusesOf("a", "taken")).toEqual(["running", "queued"]);
    expect(await store.history.delivery("a")).toBeUndefined();
    expect((await store.ledger.find("a"))?.work.state).toBe("leased");
    expect((await store.history.get("taken"))?.function_id).toBe("f2");
  });

  test("end: work that is to be tried again waits until it is due", async () => {
    await store.ledger.submit(newWork("a"));
    await store.ledger.end(again(await claimed(), START + 1_000));
    expect((await store.ledger.find("a"))?.work).toMatchObject({ state: "waiting", attempts: 1, lease_until: null });
    expect([await statusOf("a"), await claim()]).toEqual(["queued", null]);
    expect(await store.ledger.nextDue()).toBe(START + 1_000);
    expect(await store.ledger.wake(START + 999)).toEqual([]);
    expect(await store.ledger.wake(START + 1_000)).toEqual([{ function_id: "f1", priority: 0 }]);
    expect((await claimed()).attempt.attempt).toBe(2);
    expect((await store.history.attempts("a")).map(({ status }) => status)).toEqual(["failed", "running"]);
  });

  test("end: an attempt that never began is forgotten", async () => {
    await store.ledger.submit(newWork("a"));
    const end = again(await claimed(), START);
    await store.ledger.end({
      ...end,
      record: "forgotten",
      left: { due: START, attempts: 0, lost_attempts: 0, waits_since: START },
    });
    expect(await store.history.attempts("a")).toEqual([]);
    expect((await store.ledger.find("a"))?.work.attempts).toBe(0);
  });

  test("fence: a stale attempt writes nothing and holds nothing", async () => {
    await store.ledger.submit(newWork("a", { callback_url: "https://example.com/" }));
    const stale = await claimed();
    await store.ledger.loseMine();
    await store.ledger.release([again(stale, START)]);
    await store.ledger.wake(START);
    const current = await claimed();
    expect(current.work.attempts).toBe(2);
    const state = async () => [
      await store.history.get("a"),
      await store.history.payload("a"),
      await store.history.attempts("a"),
      await store.history.delivery("a"),
      await store.history.get("next"),
      await store.ledger.find("a"),
    ];
    const before = await state();
    expect(await store.ledger.end(success(stale, [newWork("next")]))).toBe(false);
    expect(await store.ledger.hold({ invocation_id: "a", attempt: 1 }, START + 900_000)).toBe(false);
    expect(await store.ledger.release([success(stale)])).toEqual([]);
    expect(await store.ledger.cancelUnattended(cancelled(stale))).toBe(false);
    expect(await state()).toEqual(before);
    expect(await store.ledger.end(success(current))).toBe(true);
    // Idempotent: no attempt holds it the second time.
    expect(await store.ledger.end(success(current))).toBe(false);
    expect(await statusOf("a")).toBe("succeeded");
  });

  test("hold and renew: a lease never gets shorter, and only leased work has one", async () => {
    for (const id of ["a", "b"]) await store.ledger.submit(newWork(id, { function_id: id }));
    await claimed("a");
    const attempt = { invocation_id: "a", attempt: 1 };
    expect(await store.ledger.hold(attempt, START + 90_000)).toBe(true);
    expect(await store.ledger.hold(attempt, START + 10_000)).toBe(true);
    expect(await store.ledger.hold({ invocation_id: "b", attempt: 0 }, START + 90_000)).toBe(false);
    await store.ledger.renew(START + 40_000);
    expect((await store.ledger.find("a"))?.work.lease_until).toBe(START + 90_000);
    await store.ledger.renew(START + 120_000);
    const leases = await Promise.all(["a", "b"].map(async (id) => (await store.ledger.find(id))?.work.lease_until));
    expect(leases).toEqual([START + 120_000, null]);
  });

  test("renew: an attempt is renewed after the end of the one before was written again", async () => {
    await store.ledger.submit(newWork("a"));
    const first = await claimed("f1");
    await store.ledger.end(again(first, START));
    await store.ledger.wake(START);
    await claimed("f1");
    expect(await store.ledger.end(again(first, START))).toBe(false);
    await store.ledger.renew(START + 2 * LEASE_MS);
    expect((await store.ledger.find("a"))?.work).toMatchObject({ attempts: 2, lease_until: START + 2 * LEASE_MS });
  });

  test("loseMine, lost and release: the work of a server that died is free when its lease has ended", async () => {
    for (const id of ["a", "b", "c"]) await store.ledger.submit(newWork(id, { function_id: id }));
    const [a, b] = [await claimed("a"), await claimed("b")];
    await store.ledger.hold({ invocation_id: "b", attempt: 1 }, START + 90_000);
    expect(await store.ledger.loseMine()).toBe(2);
    expect(await store.ledger.loseMine()).toBe(0);
    const lost = async (until: number) => (await store.ledger.lost(until)).map(({ invocation }) => invocation.id);
    expect([await lost(START), await lost(START + LEASE_MS), await lost(Infinity)]).toEqual([[], ["a"], ["a", "b"]]);
    expect(await store.ledger.end(success(a))).toBe(false);
    const ends = [again(a, START), again(b, START)];
    expect(await store.ledger.release(ends)).toEqual(ends);
    expect(await lost(Infinity)).toEqual([]);
    expect(await statusesOf("a", "b", "c")).toEqual(["queued", "queued", "queued"]);
  });

  test("wake and nextDue: due work becomes ready in batches, the soonest first", async () => {
    const all = Array.from({ length: 501 }, (_, n) => newWork(`n${n}`, { due: START + 1 + n, priority: n % 3 }));
    await Promise.all(all.map((one) => store.ledger.submit(one)));
    await store.ledger.submit(newWork("later", { due: START + 5_000 }));
    expect(await store.ledger.nextDue()).toBe(START + 1);
    expect(await store.ledger.wake(START + 1_000)).toHaveLength(500);
    expect(await store.ledger.nextDue()).toBe(START + 501);
    expect(await store.ledger.wake(START + 1_000)).toEqual([{ function_id: "f1", priority: 500 % 3 }]);
    expect(await store.ledger.wake(START + 1_000)).toEqual([]);
    expect(await store.ledger.nextDue()).toBe(START + 5_000);
  });

  test("ready: every function that has something to do, with its highest priority", async () => {
    await store.ledger.submit(newWork("a", { priority: -1 }));
    await store.ledger.submit(newWork("b", { priority: 4 }));
    await store.ledger.submit(newWork("c", { function_id: "f2" }));
    await store.ledger.submit(newWork("d", { function_id: "f3", due: START + 1 }));
    const ready = await store.ledger.ready();
    expect(ready.toSorted((one, other) => one.function_id.localeCompare(other.function_id))).toEqual([
      { function_id: "f1", priority: 4 },
      { function_id: "f2", priority: 0 },
    ]);
  });

  test("cancelUnattended: ends queued or lost work, with its callback, but no running work", async () => {
    for (const id of ["queued", "lost", "running"])
      await store.ledger.submit(newWork(id, { function_id: id, callback_url: "https://example.com/" }));
    await claimed("lost");
    await store.ledger.loseMine();
    const running = await claimed("running");
    for (const id of ["queued", "lost"]) {
      const standing = await store.ledger.find(id);
      if (standing === undefined) throw new Error(`no ${id}`);
      expect(await store.ledger.cancelUnattended(cancelled(standing))).toBe(true);
      expect(await store.ledger.cancelUnattended(cancelled(standing))).toBe(false);
      expect([await statusOf(id), (await store.history.delivery(id))?.state]).toEqual(["cancelled", "waiting"]);
    }
    expect(await store.ledger.cancelUnattended(cancelled(running))).toBe(false);
    expect([await statusOf("running"), await store.ledger.count()]).toEqual(["running", 1]);
  });

  test("replayMany: replays each invocation once, with its request", async () => {
    await store.ledger.submit(newWork("original"));
    await store.ledger.end(success(await claimed()));
    const replay = (id: string, replay_of = "original") => ({
      invocation: newWork(id, { replay_of }).invocation,
      request: { copy_of: replay_of },
    });
    const [first, second] = await Promise.all([
      store.ledger.replayMany([replay("one"), replay("two"), replay("none", "gone")]),
      store.ledger.replayMany([replay("three")]),
    ]);
    const [queued, ...others] = [...first, ...second].map(({ id }) => id);
    expect([["one", "three"].includes(queued ?? ""), others]).toEqual([true, []]);
    const payload = await store.history.payload(queued ?? "");
    expect(Buffer.from(payload?.request ?? []).toString()).toBe("the request of original");
    expect(payload?.response).toBeNull();
    const all = ["one", "two", "three", "none"];
    expect(await statusesOf(...all)).toEqual(all.map((id) => (id === queued ? "queued" : undefined)));
  });

  test("deliveries: are found when they are due, written, and sent again when asked", async () => {
    for (const id of ["a", "b"]) {
      await store.ledger.submit(newWork(id, { callback_url: `https://example.com/${id}` }));
      await store.ledger.end(success(await claimed()));
    }
    const receiver = "example.com";
    expect(await store.ledger.receivers()).toEqual([{ receiver, due: START }]);
    const due = (limit: number) => store.ledger.dueDeliveries(receiver, { now: START, limit });
    expect(await due(1)).toHaveLength(1);
    expect(await store.ledger.dueDeliveries("other.example.com", { now: START, limit: 1 })).toEqual([]);
    const a = await store.history.delivery("a");
    if (a === undefined) throw new Error("no delivery");
    expect(await rejectionOf(store.ledger.resend("a", START))).toMatchObject({ reason: "conflict" });
    await store.ledger.saveDelivery({ ...a, due: START + 5_000, attempts: 1, last_status: 500 });
    expect(await due(10)).toMatchObject([{ invocation_id: "b" }]);
    await store.ledger.saveDelivery({ ...a, state: "failed", attempts: 12, last_status: 500 });
    const resent = await Promise.allSettled(Array.from({ length: 10 }, () => store.ledger.resend("a", START + 7)));
    expect(resent.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await store.history.delivery("a")).toMatchObject({
      state: "waiting",
      due: START + 7,
      since: START + 7,
      attempts: 0,
    });
    expect(await store.ledger.resend("nobody", START)).toBeUndefined();
  });
});
