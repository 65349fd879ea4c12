import { afterEach, describe, expect, test } from "bun:test";
import { IDEMPOTENCY } from "../../../lib/domain/limits.ts";
import { InvocationEvents } from "../../../lib/services/calls/events.ts";
import type { FunctionService } from "../../../lib/services/functions/functions.ts";
import type { AttemptMaker } from "../../../lib/services/work/attempts.ts";
import { EndJudge } from "../../../lib/services/work/ends.ts";
import { Queue } from "../../../lib/services/work/queue.ts";
import { ScheduleService } from "../../../lib/services/work/schedules.ts";
import type { Submission } from "../../../lib/services/work/submissions.ts";
import { Worker } from "../../../lib/services/work/worker.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { listeningLog, newStore, rejectionOf, someFunction } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { NO_TRACING } from "../support/no-tracing.ts";

const fn = someFunction("f1");

/** A queue whose worker never finds room. */
async function bench(store: SqliteStore = newStore()) {
  const clock = new FakeClock();
  const { log } = listeningLog();
  const events = new InvocationEvents();
  const attempts: AttemptMaker = {
    available: true,
    room: () => 0,
    run: () => Promise.reject(new Error("no attempt was to be made")),
    retryOf: () => {
      throw new Error("no attempt was to be judged");
    },
  };
  const cancelled: string[] = [];
  const callbacks = {
    wake: () => {
      for (const { invocation_id: id } of store.tables.deliveries.due("example.com", clock.now(), 10))
        cancelled.push(`${id} ${store.tables.invocations.get(id)?.status}`);
    },
  };
  const ends = new EndJudge({ attempts, chains: { following: () => [] }, clock, log });
  const worker = new Worker({
    ledger: store.ledger,
    attempts,
    ends,
    events,
    callbacks,
    tracing: NO_TRACING,
    clock,
    log,
  });
  const queue = new Queue({ store, worker, ends, events, callbacks, tracing: NO_TRACING, clock });
  if (store.functions.get("f1") === undefined) await store.functions.insert(fn);
  const submission = (id: string, fields: Partial<Submission> = {}): Submission => ({
    id,
    target: {
      function: fn,
      route_id: null,
      key_id: null,
    },
    body: Buffer.from('{"a":1}'),
    request_meta: null,
    ...fields,
  });
  // The part that schedules use.
  const functions = { get: () => fn } as unknown as FunctionService;
  const schedules = new ScheduleService({
    store,
    functions,
    worker,
    tracing: NO_TRACING,
    clock,
    log,
    min_interval_ms: 1_000,
  });
  return { store, clock, queue, submission, schedules, cancelled };
}

const open: Disposable[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one[Symbol.dispose]();
});

describe("Queue", () => {
  test("submit: accepted work is on disk, with its request", async () => {
    const { store, queue, submission, clock } = await bench();
    open.push(store);
    const { invocation, repeated } = await queue.submit(submission("a", { priority: 3 }));
    expect(repeated).toBe(false);
    expect(store.tables.invocations.get("a")).toEqual(invocation);
    expect(invocation).toMatchObject({ status: "queued", mode: "async", attempts: 0, priority: 3 });
    expect(store.tables.work.get("a")).toMatchObject({ state: "ready", due: clock.now(), priority: 3 });
    expect(Buffer.from(store.tables.payloads.get("a")?.request ?? []).toString()).toBe('{"a":1}');
    await queue.submit(submission("b", { due: clock.now() + 1 }));
    expect(store.tables.work.get("b")?.state).toBe("waiting");
  });

  test("submit: the same key and request return the first invocation for 24 hours, another request is refused", async () => {
    const { store, queue, submission, clock } = await bench();
    open.push(store);
    const key = { idempotency: { key: "order-17", request_hash: "one", caller: null } };
    const another = { idempotency: { ...key.idempotency, request_hash: "two" } };
    await queue.submit(submission("a", key));
    expect(await queue.submit(submission("b", key))).toMatchObject({ repeated: true, invocation: { id: "a" } });
    expect(await rejectionOf(queue.submit(submission("c", another)))).toMatchObject({
      reason: "idempotency_mismatch",
    });
    const other = { function: someFunction("f2"), route_id: null, key_id: null };
    expect((await queue.submit(submission("d", { ...key, target: other }))).repeated).toBe(false);
    clock.jump(IDEMPOTENCY.ttl_ms + 1);
    expect((await queue.submit(submission("e", key))).invocation.id).toBe("e");
    expect(store.tables.work.count()).toBe(3);
  });

  test("submit: a hundred concurrent ones with one key make one invocation", async () => {
    const { store, queue, submission } = await bench();
    open.push(store);
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        queue.submit(submission(`i${i}`, { idempotency: { key: "k", request_hash: "one", caller: null } })),
      ),
    );
    expect(new Set(all.map(({ invocation }) => invocation.id)).size).toBe(1);
    expect(store.tables.work.count()).toBe(1);
  });

  test("cancel: a queued invocation ends at once, and cannot be cancelled twice", async () => {
    const { store, queue, submission, cancelled } = await bench();
    open.push(store);
    await queue.submit(submission("a", { origin: { callback_url: "https://example.com/" } }));
    expect(await queue.cancel("a")).toMatchObject({ status: "cancelled", finished_at: expect.any(String) });
    expect(store.tables.work.get("a")).toBeUndefined();
    expect(cancelled).toEqual(["a cancelled"]);
    expect(await rejectionOf(queue.cancel("a"))).toMatchObject({ reason: "conflict" });
    expect(await rejectionOf(queue.cancel("nobody"))).toMatchObject({ reason: "not_found" });
  });
});

describe("ScheduleService", () => {
  const minutely = { function_id: "f1", cron: "* * * * *" };

  test("queues one invocation for each time, and skips one while the last has not ended", async () => {
    const { store, clock, schedules } = await bench();
    open.push(store, schedules);
    schedules.start();
    const { id, next } = await schedules.create({ ...minutely, body: { report: 1 } });
    expect(next).toHaveLength(5);
    await clock.advance(60_000);
    expect(store.tables.work.count()).toBe(1);
    const [only] = store.tables.invocations.list({ limit: 10 }).invocations;
    expect(only).toMatchObject({ schedule_id: id, mode: "async" });
    expect(Buffer.from(store.tables.payloads.get(only?.id ?? "")?.request ?? []).toString()).toBe('{"report":1}');
    await clock.advance(120_000);
    expect(store.tables.work.count()).toBe(1);
    await schedules.update(id, { overlap: "queue" });
    await clock.advance(120_000);
    expect(store.tables.work.count()).toBe(3);
  });

  test("a look that takes minutes does not take back what other servers have done meanwhile", async () => {
    const { store, clock, schedules } = await bench();
    open.push(store, schedules);
    schedules.start();
    const minutes = { ...minutely, overlap: "queue" as const };
    await schedules.create(minutes);
    const { id } = await schedules.create(minutes);
    const submit = store.ledger.submitScheduled.bind(store.ledger);
    let done = 0;
    store.ledger.submitScheduled = async (runs) => {
      store.ledger.submitScheduled = submit;
      // The database is slow with the first one; another server is done with the second.
      clock.jump(180_000);
      const before = store.schedules.get(id);
      done = clock.now();
      if (before !== undefined) await submit({ before, last_due: done, runs: [] });
      return submit(runs);
    };
    await clock.advance(60_000);
    await clock.advance(1);
    expect(store.schedules.get(id)?.last_due).toBe(done);
    const { invocations } = store.tables.invocations.list({ limit: 100 });
    expect(invocations.filter(({ schedule_id }) => schedule_id === id)).toEqual([]);
  });

  test("a restart neither loses nor repeats a run", async () => {
    const store = newStore();
    open.push(store);
    let first = await bench(store);
    first.schedules.start();
    await first.schedules.create({ ...minutely, overlap: "queue" });
    for (let restart = 1; restart <= 5; restart++) {
      await first.clock.advance(60_000);
      first.schedules[Symbol.dispose]();
      // Five seconds later another server has the database; its clock continues from the first one's.
      const next = await bench(store);
      next.clock.jump(first.clock.now() + 5_000 - next.clock.now());
      next.schedules.start();
      await next.clock.advance(0);
      first = next;
    }
    first.schedules[Symbol.dispose]();
    const due = store.tables.invocations
      .list({ limit: 50 })
      .invocations.map(({ created_at }) => created_at.slice(0, 16));
    expect(new Set(due).size).toBe(due.length);
    expect(due).toHaveLength(5);
  });

  // EDGE.md E2.
  test.each([
    ["while the server runs", false],
    ["between two servers", true],
  ])("a clock that was ahead for a day, and is set back %s, leaves no schedule dead", async (_when, restarts) => {
    const store = newStore();
    open.push(store);
    const first = await bench(store);
    first.clock.jump(24 * 3_600_000);
    first.schedules.start();
    const { id } = await first.schedules.create({ ...minutely, overlap: "queue" });
    await first.clock.advance(60_000);
    expect(store.tables.work.count()).toBe(1);
    let now = first;
    if (restarts) {
      first.schedules[Symbol.dispose]();
      now = await bench(store);
      now.schedules.start();
    } else {
      first.clock.jump(-24 * 3_600_000);
    }
    open.push(now.schedules);
    // Ten seconds until it is noticed, and then a minute until it is due.
    await now.clock.advance(70_000);
    expect(store.tables.work.count()).toBe(2);
    const { next } = now.schedules.get(id);
    expect(Date.parse(next[0] ?? "") - now.clock.now()).toBeLessThanOrEqual(60_000);
    await now.clock.advance(60_000);
    expect(store.tables.work.count()).toBe(3);
  });

  // EDGE.md E2.
  test("a change of a schedule whose mark is ahead begins now", async () => {
    const { store, clock, schedules } = await bench();
    open.push(store, schedules);
    clock.jump(24 * 3_600_000);
    const { id } = await schedules.create(minutely);
    clock.jump(-24 * 3_600_000);
    const { next } = await schedules.update(id, { cron: "*/2 * * * *" });
    expect(Date.parse(next[0] ?? "") - clock.now()).toBeLessThanOrEqual(120_000);
    expect(store.schedules.get(id)?.last_due).toBe(clock.now());
  });

  test("a paused schedule runs nothing, and does not catch up later", async () => {
    const { store, clock, schedules } = await bench();
    open.push(store, schedules);
    schedules.start();
    const { id } = await schedules.create({ ...minutely, catch_up: "one", paused: true });
    await clock.advance(600_000);
    expect(await schedules.update(id, { paused: false })).toMatchObject({ paused: false });
    await clock.advance(1_000);
    expect(store.tables.work.count()).toBe(0);
    await clock.advance(60_000);
    expect(store.tables.work.count()).toBe(1);
    await schedules.delete(id);
    await clock.advance(600_000);
    expect(store.tables.work.count()).toBe(1);
  });
});
