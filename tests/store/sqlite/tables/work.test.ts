import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { beganAttempt } from "../../../../lib/domain/calls/attempts.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import { databasePath, type SqliteStore } from "../../../../lib/store/sqlite/store.ts";
import { openDatabase } from "../../../../lib/store/sqlite/open.ts";
import { openTables } from "../../../../lib/store/sqlite/tables.ts";
import type { Work } from "../../../../lib/store/records.ts";
import {
  listeningLog,
  newStore,
  rejectionOf,
  scratchDirectory,
  someInvocation,
  START,
  stillClock,
  thrownBy,
} from "../support/stores.ts";

let store: SqliteStore;

beforeEach(() => {
  store = newStore();
});
afterEach(() => store[Symbol.dispose]());

function queue(id: string, fields: Partial<Work> = {}, created = START): void {
  const { function_id = "f1" } = fields;
  const created_at = timestamp(created);
  const record = { function_id, status: "queued", mode: "async", attempts: 0, created_at, finished_at: null } as const;
  store.tables.invocations.put(someInvocation(id, record));
  store.tables.work.insert({
    invocation_id: id,
    function_id,
    state: "ready",
    priority: 0,
    due: START,
    attempts: 0,
    lost_attempts: 0,
    lease_until: null,
    waits_since: null,
    ...fields,
  });
}

describe("WorkTable", () => {
  test("next: the highest priority first, then the earliest due, of that function only", () => {
    queue("late", { due: START + 5 });
    queue("early", { due: START + 1 });
    queue("urgent", { due: START + 9, priority: 1 });
    queue("other", { function_id: "f2", priority: 9 });
    queue("waiting", { state: "waiting", priority: 9 });
    const order = [1, 2, 3].map(() => {
      const { invocation_id = "" } = store.tables.work.next("f1") ?? {};
      store.tables.work.remove(invocation_id);
      return invocation_id;
    });
    expect(order).toEqual(["urgent", "early", "late"]);
    expect(store.tables.work.next("f1")).toBeUndefined();
  });

  test("lease: takes ready work once, and counts the attempt", () => {
    queue("a");
    expect(store.tables.work.lease("a", START + 30_000)).toBe(true);
    expect(store.tables.work.lease("a", START + 90_000)).toBe(false);
    expect(store.tables.work.get("a")).toMatchObject({ state: "leased", attempts: 1, lease_until: START + 30_000 });
  });

  test("hold and renew: a lease never gets shorter, and only leased work has one", () => {
    queue("a");
    queue("b");
    store.tables.work.lease("a", START + 30_000);
    expect(store.tables.work.hold("a", 1, START + 90_000)).toBe(true);
    expect(store.tables.work.hold("a", 1, START + 10_000)).toBe(true);
    expect(store.tables.work.hold("b", 0, START + 90_000)).toBe(false);
    expect(store.tables.work.hold("a", 2, START + 900_000)).toBe(false);
    store.tables.work.renew(START + 40_000);
    expect(store.tables.work.get("a")?.lease_until).toBe(START + 90_000);
    store.tables.work.renew(START + 120_000);
    expect(["a", "b"].map((id) => store.tables.work.get(id)?.lease_until)).toEqual([START + 120_000, null]);
  });

  test("loseLeases and lost: the work of a server that died is free when its lease has ended", () => {
    for (const id of ["a", "b", "c"]) queue(id);
    store.tables.work.lease("a", START + 10);
    store.tables.work.lease("b", START + 20);
    expect(store.tables.work.loseLeases()).toBe(2);
    expect(store.tables.work.loseLeases()).toBe(0);
    const lost = (until: number) => store.tables.work.lost(until).map(({ invocation_id }) => invocation_id);
    expect([lost(START + 9), lost(START + 10), lost(Infinity)]).toEqual([[], ["a"], ["a", "b"]]);
  });

  test("wake and soonest: due work becomes ready in batches, the soonest first", () => {
    for (let n = 0; n < 501; n++) queue(`n${n}`, { state: "waiting", due: START + n, priority: n % 3 });
    queue("later", { state: "waiting", due: START + 5_000 });
    expect(store.tables.work.soonest()).toBe(START);
    expect(store.tables.work.wake(START + 1_000)).toHaveLength(500);
    expect(store.tables.work.soonest()).toBe(START + 500);
    expect(store.tables.work.wake(START + 1_000)).toEqual([{ function_id: "f1", priority: 500 % 3 }]);
    expect(store.tables.work.wake(START + 1_000)).toEqual([]);
    expect(store.tables.work.soonest()).toBe(START + 5_000);
  });

  test("ready: every function that has something to do, with its highest priority", () => {
    queue("a", { priority: -1 });
    queue("b", { priority: 4 });
    queue("c", { function_id: "f2" });
    queue("d", { function_id: "f3", state: "waiting" });
    const ready = store.tables.work.ready().toSorted((one, other) => one.function_id.localeCompare(other.function_id));
    expect(ready).toEqual([
      { function_id: "f1", priority: 4 },
      { function_id: "f2", priority: 0 },
    ]);
    expect(store.tables.work.count()).toBe(4);
  });

  test("is deleted with its record, as are attempts and payloads", async () => {
    queue("a");
    store.tables.attempts.save("a", beganAttempt(1, timestamp(START)), [{ stream: "stdout", text: "x" }]);
    store.tables.payloads.put({
      invocation_id: "a",
      request: Buffer.from("{}"),
      ...NOTHING_MORE,
    });
    await store.tables.invocations.remove("a");
    expect([store.tables.work.get("a"), store.tables.attempts.list("a"), store.tables.payloads.get("a")]).toEqual([
      undefined,
      [],
      undefined,
    ]);
  });

  test("needs its record", () => {
    const insert = () =>
      store.tables.work.insert({
        invocation_id: "none",
        function_id: "f1",
        state: "ready",
        priority: 0,
        due: START,
        attempts: 0,
        lost_attempts: 0,
        lease_until: null,
        waits_since: null,
      });
    expect(String(thrownBy(insert))).toContain("FOREIGN KEY");
  });

  test("durably: a write that throws leaves nothing, and the others stay", async () => {
    const clock = stillClock();
    using database = openDatabase(":memory:", { log: listeningLog().log, clock });
    const { invocations } = openTables(database, clock);
    const refused = rejectionOf(
      database.durably(() => {
        invocations.put(someInvocation("half", { status: "queued", mode: "async" }));
        throw new Error("on purpose");
      }),
    );
    await database.durably(() => invocations.put(someInvocation("whole")));
    expect(await refused).toMatchObject({ message: "on purpose" });
    expect([invocations.get("half"), invocations.get("whole")?.id]).toEqual([undefined, "whole"]);
  });
});

const NOTHING_MORE = { request_meta: null, response: null, response_meta: null };

describe("InvocationTable prune, with unfinished work,", () => {
  test("neither removes nor counts it", async () => {
    for (const n of [1, 2, 3]) await store.tables.invocations.save([{ invocation: someInvocation(`done${n}`) }]);
    for (let n = 0; n < 10; n++) queue(`queued${n}`, {}, START + 1_000);
    expect(await store.tables.invocations.prune({ before: 0, keep: 3, batch: 100 })).toBe(0);
    expect(await store.tables.invocations.prune({ before: 0, keep: 2, batch: 100 })).toBe(1);
    expect(await store.tables.invocations.prune({ before: START + 60_000, keep: 2, batch: 100 })).toBe(2);
    expect(store.tables.work.count()).toBe(10);
    expect(store.tables.invocations.get("queued0")?.status).toBe("queued");
  });
});

test("each query of a worker's turn is one index look-up, however much is queued", () => {
  using scratch = scratchDirectory();
  newStore(databasePath(scratch.path))[Symbol.dispose]();
  using database = new Database(databasePath(scratch.path));
  const plan = (sql: string) =>
    database
      .query<{ detail: string }, []>(`explain query plan ${sql}`)
      .all()
      .map(({ detail }) => detail)
      .join("; ");
  const questions = [
    "select * from work where function_id = 'f1' and state = 'ready' order by priority desc, due, invocation_id limit 1",
    "select min(due) from work where state = 'waiting'",
    "select * from work where state = 'lost' and lease_until <= 1 order by lease_until limit 500",
    "update work set lease_until = 1 where state = 'leased'",
    "update work set state = 'lost' where state = 'leased'",
  ];
  for (const question of questions)
    expect(plan(question)).toMatch(/^SEARCH work USING .*INDEX|^SCAN work USING .*INDEX work_leased/);
  for (const question of questions) expect(plan(question)).not.toContain("TEMP B-TREE");
});
