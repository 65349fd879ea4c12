import { Database as Sqlite } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { ROUTE_DEFAULTS } from "../../../../lib/domain/routes/options.ts";
import { Database } from "../../../../lib/store/sqlite/database/database.ts";
import { openDatabase } from "../../../../lib/store/sqlite/open.ts";
import {
  changeFunction,
  changeRoute,
  listeningLog,
  newStore,
  rejectionOf,
  scratchDirectory,
  someFunction,
  stillClock,
} from "../support/stores.ts";

/** A database in a file, and its settings as a plain table of keys. */
function withDatabase() {
  const scratch = scratchDirectory();
  const database = openDatabase(scratch.file("database.db"), { log: listeningLog().log, clock: stillClock() });
  const insert = database.prepare("insert into settings (key, value) values ($key, $value)");
  const keys = database.prepare<{ key: string }>("select key from settings order by key");
  return {
    database,
    write: (key: string, value = "") => insert.run({ key, value }),
    keys: () => keys.all().map(({ key }) => key),
    [Symbol.dispose]: () => {
      database[Symbol.dispose]();
      scratch[Symbol.dispose]();
    },
  };
}

/** The values of these promises, or the messages of their errors. */
async function ends(promises: readonly Promise<unknown>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((end) => (end.status === "fulfilled" ? end.value : String(end.reason)));
}

function maxPages(database: Database, pages: number): void {
  database.prepare(`pragma max_page_count = ${pages}`).get();
}

test("a database whose log was once not synced can be read, writes nothing more, and fails its check", async () => {
  const fail = () => Promise.reject(Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" }));
  const log = { sync: fail, syncNow: () => undefined, [Symbol.dispose]: () => undefined };
  using database = new Database(new Sqlite(":memory:", { strict: true }), { log });
  database.prepare("create table settings (key text)").run();
  const insert = database.prepare("insert into settings values ($key)");
  const count = database.prepare<{ count: number }>("select count(*) as count from settings");
  database.check();
  // Nobody knows if it is on the disk: it is there for as long as this process runs.
  expect(await rejectionOf(database.durably(() => insert.run({ key: "a" })))).toMatchObject({ code: "EIO" });
  const refusal = String(await rejectionOf(database.durably(() => insert.run({ key: "b" }))));
  expect(refusal).toContain("then restart the server");
  expect(count.get()).toEqual({ count: 1 });
  expect(() => database.check()).toThrow("Nothing can be written any more");
});

describe("Database durably", () => {
  test("concurrent writes are one transaction, in order", async () => {
    using each = withDatabase();
    const { database, write, keys } = each;
    const seen: unknown[] = [];
    const ask = (key: string) =>
      database.durably(() => {
        write(key);
        seen.push(keys());
        return key;
      });
    const asked = [ask("b"), ask("a"), ask("c")];
    expect(keys()).toEqual([]);
    expect(await Promise.all(asked)).toEqual(["b", "a", "c"]);
    expect(seen).toEqual([["b"], ["a", "b"], ["a", "b", "c"]]);
  });

  test("a write that throws is undone completely, and no other", async () => {
    using each = withDatabase();
    const { database, write, keys } = each;
    const half = () => {
      write("half");
      throw new Error("on purpose");
    };
    const asked = [
      database.durably(() => write("before")),
      database.durably(half),
      database.durably(() => write("before")),
      database.durably(() => write("after")),
    ];
    expect(await ends(asked)).toEqual([1, "Error: on purpose", expect.stringContaining("UNIQUE constraint failed"), 1]);
    expect(keys()).toEqual(["after", "before"]);
  });

  test("committed runs for each write, before any caller that waits gets its answer", async () => {
    using each = withDatabase();
    const { database, write } = each;
    const events: string[] = [];
    const ask = async (key: string, work: () => unknown) => {
      await database.durably(work, () => events.push(`committed ${key}`));
      events.push(`answered ${key}`);
    };
    await ends([
      ask("a", () => write("a")),
      ask("b", () => {
        throw new Error("on purpose");
      }),
      ask("c", () => write("c")),
    ]);
    expect(events).toEqual(["committed a", "committed c", "answered a", "answered c"]);
  });

  test("a full disk fails the writes that it must, and no caller is told that they worked", async () => {
    using each = withDatabase();
    const { database, write, keys } = each;
    const pages = database.prepare<{ page_count: number }>("pragma page_count").get()?.page_count ?? 0;
    maxPages(database, pages);
    const committed: string[] = [];
    const ask = (key: string, size: number) =>
      database
        .durably(
          () => write(key, "x".repeat(size)),
          () => committed.push(key),
        )
        .catch((error: { reason: string }) => error.reason);
    const answers = await Promise.all([ask("large", 100_000), ask("larger", 200_000)]);
    expect(answers).toEqual(["storage_full", "storage_full"]);
    expect([keys(), committed]).toEqual([[], []]);
    maxPages(database, 1_000_000);
    expect(await ask("large", 100_000)).toBe(1);
    expect([keys(), committed]).toEqual([["large"], ["large"]]);
  });

  test("a commit that fails rejects all of its writes", async () => {
    using each = withDatabase();
    const { database, write, keys } = each;
    const committed: string[] = [];
    // A constraint that is checked when the transaction ends.
    database.prepare("create table parents (id integer primary key)").run();
    database.prepare("create table children (id integer references parents (id) deferrable initially deferred)").run();
    const orphan = database.prepare("insert into children (id) values (1)");
    const asked = [
      database.durably(
        () => write("a"),
        () => committed.push("a"),
      ),
      database.durably(() => {
        throw new Error("on purpose");
      }),
      database.durably(
        () => orphan.run(),
        () => committed.push("orphan"),
      ),
    ];
    const failed = expect.stringContaining("FOREIGN KEY constraint failed");
    expect(await ends(asked)).toEqual([failed, "Error: on purpose", failed]);
    expect([keys(), committed]).toEqual([[], []]);
    expect(await database.durably(() => write("a"))).toBe(1);
  });

  test("more writes than one transaction takes are all written in order", async () => {
    using each = withDatabase();
    const { database, write } = each;
    const order: number[] = [];
    const asked = Array.from({ length: 1050 }, (_, index) =>
      database.durably(() => write(String(index))).then(() => order.push(index)),
    );
    await Promise.all(asked);
    expect(order).toEqual(Array.from({ length: 1050 }, (_, index) => index));
  });

  test("a close writes everything that waits, and rejects later writes", async () => {
    using scratch = scratchDirectory();
    const store = newStore(scratch.file("database.db"));
    const asked = ["f1", "f2"].map((id) => store.functions.insert(someFunction(id)));
    store[Symbol.dispose]();
    await Promise.all(asked);
    expect(await rejectionOf(store.functions.insert(someFunction("late")))).toBeInstanceOf(Error);
    using again = newStore(scratch.file("database.db"));
    expect(again.functions.list().map(({ id }) => id)).toEqual(["f1", "f2"]);
  });
});

describe("the memory of stores", () => {
  test("is the committed state, whatever is in progress or has failed", async () => {
    using store = newStore();
    const f1 = someFunction("f1", { name: "one" });
    await Promise.all([store.functions.insert(f1), store.functions.insert(someFunction("f2", { name: "two" }))]);
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    const shown = () => [
      store.functions.get("f1")?.timeout_ms,
      store.functions.find("one")?.timeout_ms,
      store.routes.getByPath("/a")?.function.timeout_ms,
    ];
    expect(shown()).toEqual([30_000, 30_000, 30_000]);
    const change = changeFunction(store, "f1", (current) => ({ ...current, timeout_ms: current.timeout_ms + 1 }));
    const again = changeFunction(store, "f1", (current) => ({ ...current, timeout_ms: current.timeout_ms + 1 }));
    const failing = changeFunction(store, "f1", (current) => ({ ...current, timeout_ms: 5, name: "two" }));
    // A change that depends on a state that others change first is made again.
    const inside = changeRoute(store, "r1", (current) => ({ ...current, path: `/${current.function.timeout_ms}` }));
    expect(shown()).toEqual([30_000, 30_000, 30_000]);
    const [, , , refused] = await Promise.all([change, again, inside, rejectionOf(failing)]);
    expect(refused).toMatchObject({ reason: "conflict" });
    expect(store.routes.get("r1")?.path).toBe("/30002");
    expect([store.functions.get("f1")?.timeout_ms, store.functions.find("one")?.timeout_ms]).toEqual([30_002, 30_002]);
    expect(store.functions.list()[0]).toStrictEqual(store.functions.get("f1"));
    expect([store.routes.getByPath("/a"), store.routes.getByPath("/30002")?.function.timeout_ms]).toEqual([
      undefined,
      30_002,
    ]);
  });

  test("forgets renamed and deleted functions, with their routes", async () => {
    using store = newStore();
    const f1 = someFunction("f1", { name: "one" });
    await store.functions.insert(f1);
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    expect([store.functions.find("one"), store.routes.getByPath("/a")?.id]).toEqual([f1, "r1"]);
    await changeFunction(store, "f1", (current) => ({ ...current, name: "other" }));
    expect([store.functions.find("one"), store.functions.find("other")?.id]).toEqual([undefined, "f1"]);
    await store.functions.delete("f1", { cascade: true });
    expect([store.functions.get("f1"), store.functions.find("other")]).toEqual([undefined, undefined]);
    expect([store.routes.getByPath("/a"), store.routes.get("r1")]).toEqual([undefined, undefined]);
    await store.functions.insert(f1);
    expect([store.routes.getByPath("/a"), store.routes.get("r1")]).toEqual([undefined, undefined]);
  });

  test("is shared, so it cannot be changed", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1", { environment: { A: "1" } }));
    const found = store.functions.get("f1");
    expect(store.functions.get("f1")).toBe(found);
    expect(() => Object.assign(found ?? {}, { image: "other" })).toThrow(TypeError);
    expect(() => Object.assign(found?.environment ?? {}, { A: "2" })).toThrow(TypeError);
  });

  test("finds records beyond the number that it keeps", async () => {
    using store = newStore();
    const ids = Array.from({ length: 700 }, (_, index) => `f${index}`);
    await Promise.all(ids.map((id) => store.functions.insert(someFunction(id))));
    for (const _ of [1, 2]) expect(ids.map((id) => store.functions.get(id)?.id)).toEqual(ids);
  });
});
