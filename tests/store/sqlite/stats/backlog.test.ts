import { Database as Sqlite } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { timestamp } from "../../../../lib/domain/types.ts";
import { databasePath, type SqliteStore } from "../../../../lib/store/sqlite/store.ts";
import { makeOlder } from "../support/older.ts";
import { newStore, scratchDirectory, someInvocation, START } from "../support/stores.ts";

/** The schema before there were figures. */
const BEFORE = 24;

describe("records from before there were figures", () => {
  let scratch: ReturnType<typeof scratchDirectory>;
  let store: SqliteStore;

  const id = (number: number) => `id-${String(number).padStart(4, "0")}`;
  const ended = (number: number, end = START) =>
    ({ invocation: someInvocation(id(number), { finished_at: timestamp(end) }) }) as const;
  const running = (number: number) =>
    ({ invocation: someInvocation(id(number), { status: "running", finished_at: null }) }) as const;
  const total = async () => {
    const buckets = await store.stats.read({ function_id: null, resolution: "hour", since: 0, until: 1e14 });
    return buckets.reduce((sum, { tally }) => sum + tally.ends.succeeded, 0);
  };
  const countAll = async () => {
    while ((await store.stats.count(100)).left !== "nothing");
  };

  beforeEach(async () => {
    scratch = scratchDirectory();
    const path = databasePath(scratch.path);
    {
      using old = newStore(path);
      await old.history.save(Array.from({ length: 300 }, (_, i) => (i % 100 === 0 ? running(i) : ended(i))));
    }
    makeOlder(path, BEFORE);
    {
      using sqlite = new Sqlite(path);
      // Rows that migrations add must come from the migration.
      expect(
        sqlite.query("select name from sqlite_schema where name like 'stats%' or name = 'uncounted'").all(),
      ).toEqual([]);
    }
    store = newStore(path);
  });
  afterEach(() => {
    store[Symbol.dispose]();
    scratch[Symbol.dispose]();
  });

  test("are counted once, in steps, the newest first", async () => {
    expect(await store.stats.count(100)).toEqual({ counted: 100, left: "backlog" });
    expect(await total()).toBe(99);
    await countAll();
    expect(await total()).toBe(297);
    expect(await store.stats.count(100)).toEqual({ counted: 0, left: "nothing" });
  });

  test("that end meanwhile are counted once, on either side of where it is", async () => {
    await store.stats.count(50);
    await store.history.save([ended(0), ended(200), ended(100)]);
    await store.stats.count(50);
    await store.history.save([ended(0), ended(200)]);
    await countAll();
    expect(await total()).toBe(300);
  });

  test("wait for those that are new", async () => {
    await store.history.save([ended(1000), ended(1001)]);
    expect(await store.stats.count(2)).toEqual({ counted: 2, left: "ended" });
    expect(await total()).toBe(2);
    await countAll();
    expect(await total()).toBe(299);
  });

  test("are counted once if the retention removes them first, or a new one has an id among them", async () => {
    await store.stats.count(50);
    await store.history.prune({ before: START + 1, keep: 100, batch: 120 });
    await store.history.save([{ invocation: { ...ended(0).invocation, id: "id-0000-new" } }]);
    await store.history.save([{ invocation: { ...ended(0).invocation, id: "id-0299-new" } }]);
    await countAll();
    expect(await total()).toBe(299);
  });

  test("survive a stop in the middle", async () => {
    await store.stats.count(120);
    store[Symbol.dispose]();
    store = newStore(databasePath(scratch.path));
    await countAll();
    expect(await total()).toBe(297);
  });
});
