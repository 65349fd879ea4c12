import { afterEach, describe, expect, test } from "bun:test";
import type { Reserve } from "../../../lib/services/work/claimer.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { workerBench } from "../support/worker-bench.ts";

const open: SqliteStore[] = [];
function started(reserve?: Reserve) {
  const made = workerBench(undefined, reserve);
  open.push(made.store);
  made.worker.start();
  return made;
}
afterEach(() => {
  for (const store of open.splice(0)) store[Symbol.dispose]();
});

describe("Claimer of a worker", () => {
  test("takes as much as there is room for with one command, and no more than 20 at once", async () => {
    const { store, attempts, clock, submit, immediately } = started();
    await clock.advance(0);
    attempts.places = 0;
    for (let i = 0; i < 30; i++) submit(`i${i}`, { function_id: `f${i % 3}` });
    const claim = store.ledger.claim.bind(store.ledger);
    const taken: number[] = [];
    store.ledger.claim = async (turns, lease) => {
      const found = await claim(turns, lease);
      taken.push(found.claimed.length);
      return found;
    };
    attempts.places = 4;
    await clock.advance(1_000);
    await immediately();
    expect([taken, attempts.running.length]).toEqual([[4], 4]);
    attempts.places = 100;
    await clock.advance(1_000);
    await immediately();
    await immediately();
    expect([taken.slice(0, 3), attempts.running.length]).toEqual([[4, 20, 6], 30]);
    for (const id of attempts.running) attempts.end(id, {});
    await immediately();
  });

  test("gives back at once what it has no room for any more, with its place and its number of attempts", async () => {
    const given: string[] = [];
    const { store, attempts, clock, submit, immediately, statusOf } = started(async (id, most) =>
      Array.from({ length: Math.min(3, most) }, () => () => void given.push(id)),
    );
    await clock.advance(0);
    attempts.places = 0;
    for (const id of ["a", "b", "c", "d"]) submit(id);
    const claim = store.ledger.claim.bind(store.ledger);
    store.ledger.claim = async (turns, lease) => {
      const found = await claim(turns, lease);
      attempts.places = Math.min(attempts.places, 1);
      return found;
    };
    attempts.places = 10;
    await clock.advance(1_000);
    await immediately();
    expect([attempts.running, given]).toEqual([["a"], ["f1", "f1"]]);
    expect(["b", "c", "d"].map((id) => store.tables.work.get(id))).toMatchObject(
      Array.from({ length: 3 }, () => ({ state: "ready", attempts: 0, lease_until: null })),
    );
    expect([statusOf("b"), store.tables.attempts.list("b")]).toEqual(["queued", []]);
    attempts.end("a", {});
    await immediately();
    expect(attempts.running).toEqual(["b"]);
    attempts.end("b", {});
    await immediately();
  });

  test("takes nothing more once the server leaves, not even what it is about to take, and goes on with its attempts", async () => {
    const { store, attempts, clock, worker, submit, immediately, statusOf } = started();
    submit("a");
    await immediately();
    const claim = store.ledger.claim.bind(store.ledger);
    store.ledger.claim = async (turns, lease) => {
      const found = await claim(turns, lease);
      worker.leave();
      return found;
    };
    submit("b");
    await immediately();
    submit("c");
    await clock.advance(60_000);
    await immediately();
    expect([attempts.running, statusOf("b"), statusOf("c")]).toEqual([["a"], "queued", "queued"]);
    expect(store.tables.work.get("a")?.lease_until ?? 0).toBeGreaterThan(clock.now());
    attempts.end("a", {});
    await immediately();
    expect(statusOf("a")).toBe("succeeded");
  });
});
