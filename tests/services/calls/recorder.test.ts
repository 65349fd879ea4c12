import { describe, expect, test } from "bun:test";
import { AppError } from "../../../lib/domain/errors.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { Recorder, type Retention } from "../../../lib/services/calls/recorder.ts";
import type { SavedInvocation } from "../../../lib/store/records.ts";
import type { InvocationTable } from "../../../lib/store/sqlite/tables/invocations.ts";
import { listeningLog, newStore, someInvocation } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { NO_TRACING } from "../support/no-tracing.ts";

const FOREVER: Retention = { max_age_ms: 1e12, max_count: 1e9 };

/** A recorder with a store in memory; `save` may prevent writing. */
function setUp({
  retention = FOREVER,
  save,
}: { retention?: Retention; save?: (records: readonly SavedInvocation[]) => void } = {}) {
  const store = newStore();
  const clock = new FakeClock();
  const { log, events } = listeningLog();
  const metrics = new Metrics();
  const { history } = store;
  const write = history.save.bind(history);
  const batches: number[] = [];
  history.save = async (records) => {
    batches.push(records.length);
    save?.(records);
    await write(records);
  };
  const recorder = new Recorder({ history, clock, log, metrics, retention, tracing: NO_TRACING });
  return {
    store: store.tables.invocations,
    clock,
    events,
    metrics,
    batches,
    recorder,
    [Symbol.dispose]: () => store[Symbol.dispose](),
  };
}

function idsOf(store: InvocationTable): string[] {
  return store.list({ limit: 500 }).invocations.map(({ id }) => id);
}

describe("Recorder", () => {
  test("writes nothing during a call, and everything together 100 ms later", async () => {
    using world = setUp();
    const { recorder, store, clock, batches } = world;
    for (const id of ["a", "b", "c"]) recorder.put(someInvocation(id));
    await clock.advance(99);
    expect(batches).toEqual([]);
    await clock.advance(1);
    expect(batches).toEqual([3]);
    expect(idsOf(store).toSorted()).toEqual(["a", "b", "c"]);
    expect(clock.pending).toBe(0);
  });

  test("writes the newest state of an invocation, with the logs that it has by then", async () => {
    using world = setUp();
    const { recorder, store, clock } = world;
    recorder.put(someInvocation("a", { status: "running", finished_at: null }));
    recorder.put(someInvocation("a"), [{ stream: "stdout", text: "hello" }]);
    await clock.advance(100);
    expect(store.get("a")?.status).toBe("succeeded");
    expect(store.logs("a")).toEqual([{ stream: "stdout", text: "hello" }]);
  });

  test("flush writes immediately, for readers", async () => {
    using world = setUp();
    const { recorder, store, clock } = world;
    recorder.put(someInvocation("a"));
    await recorder.flush();
    expect(idsOf(store)).toEqual(["a"]);
    expect(clock.pending).toBe(0);
  });

  test("drop forgets written and unwritten records", async () => {
    using world = setUp();
    const { recorder, store } = world;
    recorder.put(someInvocation("written"));
    await recorder.flush();
    recorder.put(someInvocation("waiting"));
    recorder.drop("waiting");
    recorder.drop("written");
    await recorder.flush();
    expect(idsOf(store)).toEqual([]);
  });

  test("bounds a batch by records and by the bytes of their logs, and takes turns with others", async () => {
    using world = setUp();
    const { recorder, clock, batches } = world;
    for (let i = 0; i < 450; i++) recorder.put(someInvocation(`a${i}`));
    for (let i = 0; i < 3; i++) recorder.put(someInvocation(`b${i}`, { log_bytes: 600 * 1024 }));
    await clock.advance(100);
    expect(batches).toEqual([200]);
    await clock.advance(300);
    expect(batches).toEqual([200, 200, 52, 1]);
  });

  test("writes the next batch after 10 ms while more than one waits", async () => {
    using world = setUp();
    const { recorder, clock, batches } = world;
    for (let i = 0; i < 650; i++) recorder.put(someInvocation(`a${i}`));
    await clock.advance(100);
    expect(batches).toEqual([200]);
    await clock.advance(20);
    expect(batches).toEqual([200, 200, 200]);
    await clock.advance(99);
    expect(batches).toEqual([200, 200, 200]);
    await clock.advance(1);
    expect(batches).toEqual([200, 200, 200, 50]);
    expect(clock.pending).toBe(0);
  });

  test("keeps records while the disk is full, and writes them when there is room", async () => {
    let full = true;
    using world = setUp({
      save: () => {
        if (full) throw new AppError("storage_full", "full");
      },
    });
    const { recorder, store, clock, events } = world;
    recorder.put(someInvocation("a"));
    await clock.advance(1_000);
    expect(events.some(({ event }) => event === "records not written, will try again")).toBe(true);
    full = false;
    await clock.advance(100);
    expect(idsOf(store)).toEqual(["a"]);
  });

  test("drops one record that cannot be stored, and no other", async () => {
    using world = setUp({
      save: (records) => {
        if (records.some(({ invocation }) => invocation.id === "bad")) throw new Error("cannot bind");
      },
    });
    const { recorder, store, clock, metrics } = world;
    for (const id of ["a", "bad", "b"]) recorder.put(someInvocation(id));
    await clock.advance(100);
    expect(idsOf(store).toSorted()).toEqual(["a", "b"]);
    expect((await metrics.render()).text).toContain("slipway_records_dropped_total 1\n");
  });

  test("drops the oldest beyond 10,000 that wait, and counts them", async () => {
    using world = setUp({
      save: () => {
        throw new AppError("storage_full", "full");
      },
    });
    const { recorder, metrics } = world;
    for (let i = 0; i < 10_005; i++) recorder.put(someInvocation(`a${i}`));
    expect((await metrics.render()).text).toContain("slipway_records_dropped_total 5\n");
  });

  test("removes expired records every minute, and sooner after a full batch", async () => {
    using world = setUp({ retention: { max_age_ms: 1_000, max_count: 1e9 } });
    const { recorder, store, clock } = world;
    for (let i = 0; i < 450; i++) recorder.put(someInvocation(`a${i}`));
    await recorder.flush();
    await recorder.start();
    await clock.advance(59_999);
    expect(idsOf(store)).toHaveLength(450);
    await clock.advance(1);
    expect(idsOf(store)).toHaveLength(250);
    await clock.advance(100);
    expect(idsOf(store)).toEqual([]);
    await recorder[Symbol.asyncDispose]();
    expect(clock.pending).toBe(0);
  });

  test("removes the oldest records beyond the limit", async () => {
    using world = setUp({ retention: { max_age_ms: 1e12, max_count: 2 } });
    const { recorder, store, clock } = world;
    for (let i = 0; i < 5; i++) recorder.put(someInvocation(`a${i}`, { created_at: timestamp(clock.now() + i) }));
    await recorder.flush();
    await recorder.start();
    await clock.advance(60_000);
    expect(idsOf(store)).toEqual(["a4", "a3"]);
    await recorder[Symbol.asyncDispose]();
  });

  test("marks invocations that an earlier server left running as lost", async () => {
    using world = setUp();
    const { recorder, store, events } = world;
    recorder.put(someInvocation("a", { status: "running", finished_at: null }));
    await recorder.flush();
    await recorder.start();
    expect(store.get("a")).toMatchObject({ status: "failed", reason: "instance_lost" });
    expect(events.some(({ event, count }) => event === "invocations lost with an earlier server" && count === 1)).toBe(
      true,
    );
    await recorder[Symbol.asyncDispose]();
  });
});
