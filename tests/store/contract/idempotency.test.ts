import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { IDEMPOTENCY } from "../../../lib/domain/limits.ts";
import type { IdempotencyKey } from "../../../lib/store/ledger.ts";
import type { Store } from "../../../lib/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejectionOf, someInvocation, START } from "../sqlite/support/stores.ts";
import { MAKERS } from "./makers.ts";
import { newWork } from "./records.ts";

const KEY: IdempotencyKey = { key: "order-17", request_hash: "one", now: START };

// EDGE.md D5.
describe.each(MAKERS)("Ledger of $name, keys of synchronous calls", ({ open }) => {
  let store: Store;

  beforeEach(async () => {
    store = await open(new FakeClock());
  });
  afterEach(() => store[Symbol.asyncDispose]());

  const running = (id: string) => someInvocation(id, { status: "running", finished_at: null });
  const answered = (id: string) => ({
    invocation: someInvocation(id),
    response: Buffer.from("{}"),
    response_meta: '{"status":200,"headers":[]}',
  });

  test("the first has none, later ones find what it was answered", async () => {
    expect(await store.ledger.keepKey(running("a"), KEY)).toBeUndefined();
    expect(await store.ledger.keepKey(running("b"), KEY)).toMatchObject({
      invocation: { id: "a", status: "running" },
      response: null,
    });
    await store.ledger.keepAnswer(answered("a"));
    const found = await store.ledger.keepKey(running("c"), KEY);
    expect(found?.invocation).toEqual(someInvocation("a"));
    expect(Buffer.from(found?.response ?? []).toString()).toBe("{}");
    expect(found?.response_meta).toBe('{"status":200,"headers":[]}');
  });

  test("another request with the key is refused, and another caller's key is another one", async () => {
    await store.ledger.keepKey(running("a"), KEY);
    const other = store.ledger.keepKey(running("b"), { ...KEY, request_hash: "two" });
    expect(await rejectionOf(other)).toMatchObject({ reason: "idempotency_mismatch" });
    expect(await store.ledger.keepKey(running("c"), { ...KEY, caller: "someone" })).toBeUndefined();
    expect(await store.ledger.keepKey(running("d"), { ...KEY, caller: "someone" })).toMatchObject({
      invocation: { id: "c" },
    });
  });

  test("a key that is to be kept for less is forgotten sooner", async () => {
    const brief: IdempotencyKey = { ...KEY, kept_ms: 900_000 };
    expect(await store.ledger.keepKey(running("a"), brief)).toBeUndefined();
    expect(await store.ledger.keepKey(running("b"), { ...brief, now: START + 900_000 })).toMatchObject({
      invocation: { id: "a" },
    });
    expect(await store.ledger.keepKey(running("c"), { ...brief, now: START + 900_001 })).toBeUndefined();
    expect(await store.ledger.forgetKeys(START + 1_800_001 - IDEMPOTENCY.ttl_ms)).toBe(0);
    expect(await store.ledger.forgetKeys(START + 1_800_002 - IDEMPOTENCY.ttl_ms)).toBe(1);
  });

  test("an answer is kept without its record for 24 hours, and goes with its key", async () => {
    await store.history.save([{ invocation: someInvocation("a") }]);
    await store.ledger.keepKey(running("a"), KEY);
    await store.ledger.keepAnswer(answered("a"));
    await store.history.remove("a");
    const last = { ...KEY, now: START + IDEMPOTENCY.ttl_ms };
    expect(await store.ledger.keepKey(running("b"), last)).toMatchObject({ invocation: { id: "a" } });
    const later = { ...KEY, now: START + IDEMPOTENCY.ttl_ms + 1 };
    expect(await store.ledger.keepKey(running("c"), later)).toBeUndefined();
    // Too late: its key is another's.
    await store.ledger.keepAnswer(answered("a"));
    expect(await store.ledger.keepKey(running("d"), later)).toMatchObject({ invocation: { id: "c" }, response: null });
  });

  test("a queued invocation is returned without its record, too", async () => {
    await store.ledger.submit(newWork("a"), KEY);
    await store.history.remove("a");
    expect(await store.ledger.submit(newWork("b"), KEY)).toMatchObject({
      repeated: true,
      invocation: { id: "a", status: "queued" },
    });
  });

  test("a key whose call was not made is free again, and only for that call", async () => {
    await store.ledger.keepKey(running("a"), KEY);
    await store.ledger.dropKey(running("b"), KEY);
    expect(await store.ledger.keepKey(running("b"), KEY)).toMatchObject({ invocation: { id: "a" } });
    await store.ledger.dropKey(running("a"), KEY);
    expect(await store.ledger.keepKey(running("b"), KEY)).toBeUndefined();
  });

  test("of a hundred at once one is the first", async () => {
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => store.ledger.keepKey(running(`i${i}`), KEY)));
    expect(all.filter((found) => found === undefined)).toHaveLength(1);
  });

  test("of ten at once one is the first, also when they find a key that has expired", async () => {
    for (let round = 0; round < 5; round++) {
      const now = START + round * (IDEMPOTENCY.ttl_ms + 1);
      const all = await Promise.all(
        Array.from({ length: 10 }, (_, i) => store.ledger.keepKey(running(`i${round}${i}`), { ...KEY, now })),
      );
      expect(all.filter((found) => found === undefined)).toHaveLength(1);
    }
  });
});
