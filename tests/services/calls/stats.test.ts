import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { timestamp } from "../../../lib/domain/types.ts";
import { StatsService } from "../../../lib/services/calls/stats.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { listeningLog, newStore, someInvocation, START } from "../../store/sqlite/support/stores.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const MINUTE = 60_000;

describe("StatsService", () => {
  let clock: FakeClock;
  let store: SqliteStore;
  let stats: StatsService;
  let events: Record<string, unknown>[];
  let flushed: number;

  beforeEach(() => {
    clock = new FakeClock();
    store = newStore();
    flushed = 0;
    const { log, events: logged } = listeningLog();
    events = logged;
    const recorder = { flush: async () => void (flushed += 1) };
    const functions = { idOf: (name: string) => (name === "named" ? "f1" : name) };
    stats = new StatsService({ store: store.stats, recorder, functions, clock, log });
  });
  afterEach(() => {
    stats[Symbol.dispose]();
    store[Symbol.dispose]();
    expect(clock.pending).toBe(0);
  });

  const end = (minutes: readonly number[], fields: object = {}) =>
    store.history.save(
      minutes.map((minute) => ({
        invocation: someInvocation(clock.uuid(), { finished_at: timestamp(START + minute * MINUTE), ...fields }),
      })),
    );
  const uncounted = () => store.stats.count(0).then(({ left }) => left !== "nothing");

  test("counts every 5 s, in batches with pauses", async () => {
    await end(Array.from({ length: 450 }, () => 0));
    stats.start();
    await clock.advance(4_999);
    expect(await uncounted()).toBe(true);
    await clock.advance(1);
    await clock.advance(20);
    expect(await uncounted()).toBe(true);
    await clock.advance(20);
    expect(await uncounted()).toBe(false);
  });

  test("merges minutes into steps, and steps into totals", async () => {
    await end([-9, -6, -5, -4, 0], { run_ms: 10, request_bytes: 3 });
    const { points, totals, complete } = await stats.read({ since: timestamp(START - 10 * MINUTE), step: "5m" });
    expect(points.map(({ at, calls }) => [Date.parse(at) - START, calls])).toEqual([
      [-10 * MINUTE, 2],
      [-5 * MINUTE, 2],
    ]);
    expect(totals).toMatchObject({ calls: 4, succeeded: 4, request_bytes: 12, error_ratio: 0, cold_ratio: 1 });
    expect([complete, flushed]).toEqual([true, 1]);
    // A call that ends now is in the step that begins now.
    await clock.advance(1);
    expect((await stats.read({ since: timestamp(START - 10 * MINUTE), step: "5m" })).points.at(-1)?.calls).toBe(1);
  });

  test("has rates of the part of a step that has passed, and none of the future", async () => {
    await end([0, 0, 0]);
    await clock.advance(30_000);
    const query = { since: timestamp(START), until: timestamp(START + 2 * MINUTE), step: "1m" };
    const { points, totals } = await stats.read(query);
    expect(points.map(({ calls_per_s }) => calls_per_s)).toEqual([0.1, 0]);
    expect(totals.calls_per_s).toBe(0.1);
  });

  test("finds a function by its name", async () => {
    await end([-1]);
    await end([-1], { function_id: "f2" });
    expect(await stats.read({ function_id: "named" })).toMatchObject({ function_id: "f1", totals: { calls: 1 } });
    expect((await stats.read({})).totals.calls).toBe(2);
  });

  test("answers with what is counted if nothing can be counted now, and tries again", async () => {
    const count = store.stats.count.bind(store.stats);
    store.stats.count = () => Promise.reject(new Error("the disk is full"));
    await end([-1]);
    stats.start();
    await clock.advance(5_000);
    expect(await stats.read({})).toMatchObject({ complete: false, totals: { calls: 0 } });
    expect(
      events.filter((event) => JSON.stringify(event).includes("calls are not counted, will try again")),
    ).toHaveLength(2);
    store.stats.count = count;
    await clock.advance(5_000);
    expect(await uncounted()).toBe(false);
  });
});
