import { Database as Sqlite } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { ROUTE_DEFAULTS } from "../../../../lib/domain/routes/options.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import type { SealedSecret } from "../../../../lib/store/records.ts";
import { retryStale, StaleError } from "../../../../lib/store/errors.ts";
import { newStore, rejectionOf, scratchDirectory, someFunction, START } from "../support/stores.ts";

function row(name: string, fields: Partial<SealedSecret> = {}): SealedSecret {
  const now = timestamp(START);
  return { name, value: "sealed", bytes: 1, created_at: now, updated_at: now, ...fields };
}

function uses(...names: readonly string[]) {
  return { secrets: names.map((name) => ({ name, environment: null })) };
}

describe("SecretTable", () => {
  test("put: inserts, then replaces, and returns both", async () => {
    using store = newStore();
    const first = row("a");
    expect(await store.secrets.put(first)).toStrictEqual({ before: undefined, after: first });
    expect(store.secrets.get("a")).toStrictEqual(first);
    const second = { ...first, value: "other", bytes: 7, updated_at: timestamp(START + 1) };
    expect(await store.secrets.put(second)).toStrictEqual({ before: first, after: second });
    expect(store.secrets.get("a")).toStrictEqual(second);
    expect(store.secrets.count()).toBe(1);
  });

  test("put: changes nothing if its basis has changed", async () => {
    using store = newStore();
    const { revision } = store;
    await store.secrets.put(row("a"));
    const refused = store.secrets.put(row("a", { bytes: 2 }), { revision });
    expect(await rejectionOf(refused)).toBeInstanceOf(StaleError);
    expect(store.secrets.get("a")).toStrictEqual(row("a"));
  });

  test("put: concurrent changes see each other", async () => {
    using store = newStore();
    const counts: (number | undefined)[] = [];
    const change = () =>
      retryStale(async () => {
        const { revision } = store;
        const bytes = (store.secrets.get("a")?.bytes ?? 0) + 1;
        const { before } = await store.secrets.put(row("a", { bytes }), { revision });
        counts.push(before?.bytes);
      });
    await Promise.all([1, 2, 3].map(change));
    expect(counts).toEqual([undefined, 1, 2]);
    expect(store.secrets.get("a")?.bytes).toBe(3);
  });

  test("list and users: the functions that name a secret, oldest first, once each", async () => {
    using store = newStore();
    for (const name of ["b", "a"]) await store.secrets.put(row(name));
    const late = { created_at: timestamp(START + 1) };
    await store.functions.insert(someFunction("f2", { ...uses("a"), ...late }));
    await store.functions.insert(
      someFunction("f1", {
        name: "one",
        secrets: [
          { name: "a", environment: null },
          { name: "a", environment: "A" },
          { name: "gone", environment: null },
        ],
      }),
    );
    await store.functions.insert(someFunction("f3"));
    const users = [
      { id: "f1", name: "one" },
      { id: "f2", name: null },
    ];
    const times = { created_at: timestamp(START), updated_at: timestamp(START) };
    expect(store.secrets.users("a")).toEqual(users);
    expect(store.secrets.users("gone")).toEqual([{ id: "f1", name: "one" }]);
    expect(store.secrets.list()).toEqual([
      { name: "a", used_by: users, ...times },
      { name: "b", used_by: [], ...times },
    ]);
  });

  test("users: counts a version that a route names, and no other", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    using store = newStore(path);
    const fn = someFunction("f1", { version: 4 });
    await store.functions.insert(fn);
    {
      using other = new Sqlite(path);
      const insert = other.prepare(
        "insert or replace into versions (function_id, version, record, created_at) values (?, ?, ?, ?)",
      );
      for (const [version, name] of [
        [1, "routed"],
        [2, "split"],
        [3, "idle"],
      ] as const) {
        insert.run("f1", version, JSON.stringify({ ...fn, version, ...uses(name) }), timestamp(START));
      }
    }
    const split = { version: 2, percent: 10, sticky_header: null };
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/1", function: fn, version: 1, split });
    const user = [{ id: "f1", name: null }];
    expect(["routed", "split", "idle"].map((name) => store.secrets.users(name))).toEqual([user, user, []]);
  });

  test("delete: refuses while a function uses it, and says which, unless forced", async () => {
    using store = newStore();
    await store.secrets.put(row("a"));
    await store.functions.insert(someFunction("f1", uses("a")));
    const refused = await store.secrets.delete("a", { force: false }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ reason: "conflict" });
    expect(store.secrets.get("a")).toBeDefined();
    expect(await store.secrets.delete("a", { force: true })).toMatchObject({ used_by: [{ id: "f1", name: null }] });
    expect(store.secrets.get("a")).toBeUndefined();
    expect(await store.secrets.delete("a", { force: true })).toBeUndefined();
  });

  test("anythingSealed: a secret, or a registry", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    using store = newStore(path);
    expect(store.secrets.anythingSealed()).toBe(false);
    await store.secrets.put(row("a"));
    expect(store.secrets.anythingSealed()).toBe(true);
    await store.secrets.delete("a", { force: false });
    expect(store.secrets.anythingSealed()).toBe(false);
    {
      using other = new Sqlite(path);
      other.run("insert into registries values ('r', 'password', 'u', 'sealed', null, '', '')");
    }
    expect(store.secrets.anythingSealed()).toBe(true);
  });
});
