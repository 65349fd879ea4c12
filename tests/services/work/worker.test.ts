import { afterEach, describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { newStore, someInvocation } from "../../store/sqlite/support/stores.ts";
import { workerBench } from "../support/worker-bench.ts";

const open: SqliteStore[] = [];
function started(store?: SqliteStore) {
  const made = workerBench(store);
  if (store === undefined) open.push(made.store);
  made.worker.start();
  return made;
}
afterEach(() => {
  for (const store of open.splice(0)) store[Symbol.dispose]();
});

describe("Worker", () => {
  // EDGE.md E2.
  test.each([
    ["while the server runs", false],
    ["between two servers", true],
  ])("a retry that waits by a clock that is set back %s is made after its own wait", async (_when, restarts) => {
    const store = newStore();
    open.push(store);
    const first = started(store);
    await first.clock.advance(0);
    first.clock.jump(24 * 3_600_000);
    await first.clock.advance(1_000);
    first.submit("a");
    await first.immediately();
    first.attempts.end("a", { status: "failed", reason: "function_failed" });
    await first.immediately();
    expect(store.tables.work.get("a")).toMatchObject({ state: "waiting", attempts: 1 });
    let now = first;
    if (restarts) {
      await first.worker.drain(0);
      now = started(store);
    } else {
      first.clock.jump(-24 * 3_600_000);
    }
    // The longest wait of a first retry is 2 s.
    await now.clock.advance(4_000);
    await now.immediately();
    expect(now.attempts.running).toEqual(["a"]);
    now.attempts.end("a", {});
    await now.immediately();
    expect(now.statusOf("a")).toBe("succeeded");
  });

  // EDGE.md E2.
  test("work that is queued just before the clock is set back by a moment is not forgotten", async () => {
    const { clock, attempts, submit, immediately, store, worker } = started();
    await clock.advance(0);
    submit("other", { function_id: "f2" });
    await immediately();
    attempts.end("other", {});
    await immediately();
    const invocation = someInvocation("a", {
      function_id: "f1",
      status: "queued",
      mode: "async",
      attempts: 0,
      created_at: timestamp(clock.now()),
      run_at: timestamp(clock.now()),
      finished_at: null,
    });
    await store.ledger.submit({
      invocation: { ...invocation, run_at: timestamp(clock.now()) },
      request: { request: Buffer.from("{}"), request_meta: null },
    });
    clock.jump(-500);
    worker.queued(invocation);
    await immediately();
    expect(attempts.running).toEqual(["a"]);
    attempts.end("a", {});
    await immediately();
  });

  test("attempts submitted work, and writes its end once", async () => {
    const { store, attempts, submit, immediately, statusOf, ended, committed } = started();
    submit("a");
    await immediately();
    expect([statusOf("a"), attempts.running]).toEqual(["running", ["a"]]);
    attempts.end("a", {});
    await immediately();
    expect(statusOf("a")).toBe("succeeded");
    expect(ended.map(({ id }) => id)).toEqual(["a"]);
    // Consequences are announced after the commit.
    expect(committed).toEqual(["a"]);
    expect(store.tables.work.get("a")).toBeUndefined();
    expect(store.tables.attempts.list("a")).toMatchObject([{ attempt: 1, status: "succeeded", exit_code: 0 }]);
    expect(store.tables.payloads.get("a")?.response).toEqual(new Uint8Array(Buffer.from("{}")));
  });

  test("retries failed work after its backoff, until no attempt is left", async () => {
    const { store, attempts, clock, submit, immediately, statusOf } = started();
    submit("a");
    for (const wait of [1_500, 2_500]) {
      await immediately();
      attempts.end("a", { status: "failed", reason: "function_failed" });
      await immediately();
      expect(statusOf("a")).toBe("queued");
      expect((store.tables.work.get("a")?.due ?? 0) - clock.now()).toBe(wait);
      await clock.advance(wait - 1);
      await immediately();
      expect(attempts.running).toEqual([]);
      await clock.advance(1);
    }
    await immediately();
    attempts.end("a", { status: "failed", reason: "function_failed" });
    await immediately();
    expect(statusOf("a")).toBe("dead");
    expect(store.tables.attempts.list("a").map(({ attempt, status }) => [attempt, status])).toEqual([
      [1, "failed"],
      [2, "failed"],
      [3, "failed"],
    ]);
  });

  test("waits for work that is due later, and takes the highest priority first, then the earliest due", async () => {
    const { attempts, clock, submit, immediately } = started();
    attempts.places = 0;
    submit("later", { due: clock.now() + 5_000, priority: 100 });
    submit("first");
    submit("urgent", { priority: 1 });
    await clock.advance(10);
    submit("second");
    const order: string[] = [];
    attempts.places = 1;
    for (let i = 0; i < 3; i++) {
      await clock.advance(1_000);
      await immediately();
      order.push(...attempts.running);
      attempts.end(attempts.running[0] ?? "", {});
      await immediately();
    }
    expect(order).toEqual(["urgent", "first", "second"]);
    await clock.advance(2_000);
    await immediately();
    expect(attempts.running).toEqual(["later"]);
  });

  test("does not count an attempt that found no place, and counts one that the engine refused", async () => {
    const { store, attempts, clock, submit, immediately, statusOf } = started();
    submit("a");
    await immediately();
    attempts.fail("a", new AppError("overloaded", "full", { retry_after_s: 2 }));
    await immediately();
    expect(store.tables.work.get("a")).toMatchObject({ state: "waiting", attempts: 0, due: clock.now() + 2_000 });
    expect(store.tables.attempts.list("a")).toEqual([]);
    await clock.advance(2_000);
    await immediately();
    attempts.fail("a", new AppError("engine_unavailable", "the engine refused"));
    await immediately();
    expect(store.tables.attempts.list("a")).toMatchObject([
      { attempt: 1, status: "failed", reason: "engine_unavailable" },
    ]);
    attempts.available = false;
    await clock.advance(10_000);
    await immediately();
    expect([statusOf("a"), attempts.running]).toEqual(["queued", []]);
  });

  test("a lost attempt is repeated when its container is gone, and does not count", async () => {
    const { store, attempts, clock, submit, immediately, statusOf } = started();
    submit("a");
    await immediately();
    const gone = Promise.withResolvers<void>();
    attempts.end("a", { status: "failed", reason: "engine_unavailable", lost: true, gone: gone.promise });
    await clock.advance(60_000);
    expect([statusOf("a"), store.tables.work.get("a")?.state]).toEqual(["running", "leased"]);
    gone.resolve();
    await immediately();
    await clock.advance(1_000);
    await immediately();
    expect(attempts.running).toEqual(["a"]);
    expect(store.tables.work.get("a")).toMatchObject({ attempts: 2, lost_attempts: 1 });
    expect(store.tables.attempts.list("a").map(({ status }) => status)).toEqual(["lost", "running"]);
  });

  test("work that a dead server had begun waits for the sweep, or for its deadline", async () => {
    const first = started();
    first.submit("a");
    first.submit("b");
    await first.immediately();
    await first.attempts.tasks.find(({ invocation }) => invocation.id === "b")?.onHandover(300_000);
    // The first server is gone without notice; the second one has its database.
    const second = started(first.store);
    await second.immediately();
    expect(second.attempts.running).toEqual([]);
    await second.clock.advance(31_000);
    await second.immediately();
    expect(second.attempts.running).toEqual(["a"]);
    second.worker.swept();
    await second.clock.advance(1_000);
    await second.immediately();
    expect(second.attempts.running).toEqual(["a", "b"]);
    expect(second.store.tables.attempts.list("b").map(({ status }) => status)).toEqual(["lost", "running"]);
  });

  test("cancel ends a running attempt, which is not retried", async () => {
    const { store, attempts, worker, submit, immediately, statusOf, ended } = started();
    submit("a");
    await immediately();
    expect(worker.cancel("a")).toBe(true);
    await immediately();
    expect([statusOf("a"), store.tables.work.get("a"), attempts.running]).toEqual(["cancelled", undefined, []]);
    expect(ended).toHaveLength(1);
    expect(worker.cancel("a")).toBe(false);
  });

  test("cancel of an attempt that finds no place ends it as cancelled", async () => {
    const { attempts, worker, submit, immediately, store } = started();
    submit("a");
    await immediately();
    attempts.deaf = true;
    expect(worker.cancel("a")).toBe(true);
    attempts.fail("a", new AppError("overloaded", "full"));
    await immediately();
    expect(store.tables.invocations.get("a")).toMatchObject({ status: "cancelled", reason: "cancelled", attempts: 0 });
    expect(store.tables.attempts.list("a")).toEqual([]);
  });

  test("a server that stops leaves its attempts to the next one", async () => {
    const { store, worker, submit, immediately, statusOf } = started();
    submit("a");
    await immediately();
    await worker[Symbol.asyncDispose]();
    expect(statusOf("a")).toBe("queued");
    expect(store.tables.work.get("a")).toMatchObject({ state: "waiting", lost_attempts: 1 });
  });

  test("renews its leases while attempts run", async () => {
    const { store, clock, submit, immediately } = started();
    submit("a");
    await immediately();
    await clock.advance(120_000);
    expect(store.tables.work.get("a")?.lease_until ?? 0).toBeGreaterThan(clock.now() + 15_000);
  });

  test("a hold leaves time for the handover, and comes too late after that time", async () => {
    const { store, clock, attempts, submit, immediately } = started();
    submit("a");
    await immediately();
    await attempts.tasks[0]?.onHandover(60_000);
    expect(store.tables.work.get("a")?.lease_until ?? 0).toBeGreaterThanOrEqual(clock.now() + 64_000);
    store.ledger.hold = async () => {
      await clock.advance(9_000);
      return true;
    };
    expect(await attempts.tasks[0]?.onHandover(60_000).catch(String)).toContain(
      "The lease of the attempt was renewed too late",
    );
  });

  test("an attempt is counted when its end is written, and not if that came too late", async () => {
    const { store, attempts, submit, immediately } = started();
    const end = store.ledger.end.bind(store.ledger);
    submit("late");
    submit("in-time");
    await immediately();
    store.ledger.end = async (one) => one.invocation_id !== "late" && end(one);
    for (const id of ["late", "in-time"]) attempts.end(id, {});
    await immediately();
    expect(attempts.counted).toEqual(["in-time"]);
  });

  test("no function keeps another from its turn", async () => {
    const { attempts, clock, submit, immediately } = started();
    attempts.places = 1;
    for (let i = 0; i < 50; i++) submit(`noisy-${i}`, { function_id: "noisy", priority: 9 });
    submit("quiet", { function_id: "quiet" });
    for (let i = 0; i < 3 && !attempts.running.includes("quiet"); i++) {
      await immediately();
      attempts.end(attempts.running[0] ?? "", {});
      await clock.advance(1);
      await immediately();
    }
    expect(attempts.tasks.map(({ invocation }) => invocation.id)).toContain("quiet");
  });
});
