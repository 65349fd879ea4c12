import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejectionOf, someFunction, someInvocation, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { claimNext, newWork, success } from "./records.ts";

describe.each(MAKERS)("History of $name", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const save = (...invocations: readonly Invocation[]) =>
    store.history.save(invocations.map((invocation) => ({ invocation })));

  test("save: the latest state replaces the one before, and keeps logs that are not given again", async () => {
    const logs = [{ stream: "stdout" as const, text: "hello" }];
    const payload = { invocation_id: "a", request: Buffer.from("in"), request_meta: null, response_meta: null };
    await save(someInvocation("a", { status: "running", finished_at: null }));
    await store.history.save([
      { invocation: someInvocation("a"), logs, payload: { ...payload, response: Buffer.from("out") } },
    ]);
    await save(someInvocation("a", { exit_code: 7 }));
    expect(await store.history.get("a")).toEqual(someInvocation("a", { exit_code: 7 }));
    expect(await store.history.logs("a")).toEqual(logs);
    expect(Buffer.from((await store.history.payload("a"))?.response ?? []).toString()).toBe("out");
    await store.history.remove("a");
    expect([await store.history.get("a"), await store.history.logs("a")]).toEqual([undefined, []]);
    expect(await store.history.payload("a")).toBeUndefined();
  });

  test("markUndelivered: the note stays when the record is written again, and an unknown id is none", async () => {
    await save(someInvocation("a"));
    await store.history.markUndelivered("a", "client_stalled");
    await save(someInvocation("a", { peak_memory_bytes: 7 }));
    const expected = someInvocation("a", { peak_memory_bytes: 7, undelivered: "client_stalled" });
    expect(await store.history.get("a")).toEqual(expected);
    await store.history.markUndelivered("none", "client_closed");
    expect(await store.history.get("none")).toBeUndefined();
  });

  test("list: returns the matches of a query in pages, newest first, each once", async () => {
    const all = Array.from({ length: 25 }, (_, n) =>
      someInvocation(`i${String(n).padStart(2, "0")}`, {
        function_id: n % 2 === 0 ? "f1" : "f2",
        created_at: timestamp(START + Math.floor(n / 3)),
      }),
    );
    await save(...all);
    const found: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await store.history.list({ limit: 4, function_id: "f1", ...(cursor && { cursor }) });
      found.push(...page.invocations.map(({ id }) => id));
      cursor = page.next_cursor;
    } while (cursor !== null);
    const expected = all.filter(({ function_id }) => function_id === "f1").map(({ id }) => id);
    expect(found).toEqual(expected.toReversed());
    expect(await rejectionOf(store.history.list({ limit: 4, cursor: "x" }))).toMatchObject({
      reason: "invalid_request",
    });
  });

  test("list: finds the followers of an invocation, and no other's", async () => {
    const follower = (id: string, parent_id: string, at: number, function_id = "f1") =>
      someInvocation(id, { parent_id, function_id, created_at: timestamp(START + at) });
    await save(
      someInvocation("parent"),
      follower("a", "parent", 1),
      follower("b", "parent", 2, "f2"),
      follower("c", "a", 3),
    );
    // A record that is written again keeps its parent.
    await save(follower("a", "parent", 1));
    const list = async (query: object) =>
      (await store.history.list({ limit: 10, ...query })).invocations.map(({ id }) => id);
    expect(await list({ parent_id: "parent" })).toEqual(["b", "a"]);
    expect(await list({ parent_id: "parent", function_id: "f2" })).toEqual(["b"]);
    expect(await list({ parent_id: "parent", status: "dead" })).toEqual([]);
    expect(await list({ parent_id: "none" })).toEqual([]);
  });

  test("prune: removes the oldest in batches, but keeps running invocations and unsent results", async () => {
    const old = Array.from({ length: 5 }, (_, n) =>
      someInvocation(`i${n}`, { created_at: timestamp(START - 10 + n), finished_at: timestamp(START - 10 + n) }),
    );
    const running = { status: "running", created_at: timestamp(START - 20), finished_at: null } as const;
    await save(...old, someInvocation("running", running));
    await store.ledger.submit(newWork("sent", { at: START - 30, callback_url: "https://example.com/" }));
    const claimed = await claimNext(store.ledger, "f1", { now: START, until: START + 1 });
    if (claimed !== null) await store.ledger.end(success(claimed));
    const prune = () => store.history.prune({ before: START, keep: 100, batch: 3 });
    expect([await prune(), await prune(), await prune()]).toEqual([3, 2, 0]);
    expect((await store.history.list({ limit: 10 })).invocations.map(({ id }) => id)).toEqual(["running", "sent"]);
    await save(...old);
    // The one that is to be sent ended last, so it is one of the two.
    expect(await store.history.prune({ before: 0, keep: 2, batch: 10 })).toBe(4);
  });

  test("markLost: ends the synchronous invocations that an earlier server left running", async () => {
    await save(someInvocation("sync", { status: "running", finished_at: null }), someInvocation("ended"));
    await store.ledger.submit(newWork("async"));
    await claimNext(store.ledger, "f1", { now: START, until: START + 1 });
    expect(await store.history.markLost(START)).toBe(1);
    expect(await store.history.markLost(START)).toBe(0);
    expect(await store.history.get("sync")).toMatchObject({ status: "failed", reason: "instance_lost" });
    expect((await store.history.get("async"))?.status).toBe("running");
  });

  test("deadNotReplayed: dead ones that could be replayed, newest first, of functions that exist", async () => {
    await store.functions.insert(someFunction("f1"));
    for (const [n, function_id] of ["f1", "f1", "gone"].entries()) {
      await store.ledger.submit(newWork(`i${n}`, { function_id, key_id: `k${n}`, at: START + n }));
      const claimed = await claimNext(store.ledger, function_id, { now: START, until: START + 1 });
      if (claimed === null) throw new Error("nothing was ready");
      const end = success(claimed);
      await store.ledger.end({ ...end, invocation: { ...end.invocation, status: "dead" } });
    }
    const ids = async (limit: number) =>
      (await store.history.deadNotReplayed({ function_id: null, key_id: null }, limit)).map(({ id }) => id);
    expect([await ids(10), await ids(1)]).toEqual([["i1", "i0"], ["i1"]]);
    expect(await store.history.countDeadNotReplayed({ function_id: "f1", key_id: null })).toBe(2);
    expect(await store.history.countDeadNotReplayed({ function_id: null, key_id: "k0" })).toBe(1);
    const own = await store.history.deadNotReplayed({ function_id: "f1", key_id: "k1" }, 10);
    expect(own.map(({ id }) => id)).toEqual(["i1"]);
    const { invocation } = newWork("replay", { replay_of: "i1" });
    await store.ledger.replayMany([{ invocation, request: { copy_of: "i1" } }]);
    expect([await ids(10), await store.history.countDeadNotReplayed({ function_id: null, key_id: null })]).toEqual([
      ["i0"],
      1,
    ]);
  });
});
