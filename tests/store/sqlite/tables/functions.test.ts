import { describe, expect, test } from "bun:test";
import { ROUTE_DEFAULTS } from "../../../../lib/domain/routes/options.ts";
import fc from "fast-check";
import { AppError } from "../../../../lib/domain/errors.ts";
import { anySettings } from "../../../support/any-settings.ts";
import { changeFunction, newStore, rejectionOf, someFunction } from "../support/stores.ts";

describe("FunctionTable", () => {
  test("insert: keeps every field", async () => {
    using store = newStore();
    const record = someFunction("f1", {
      name: "hello",
      digest: "busybox@sha256:2",
      environment: { MULTI: "one\ntwo\n", EMPTY: "", ["__proto__"]: "own" },
      cpus: 0.5,
      memory_bytes: 2 ** 40,
    });
    await store.functions.insert(record);
    expect(store.functions.get("f1")).toStrictEqual(record);
    expect(store.functions.list()).toStrictEqual([record]);
    expect(store.functions.count()).toBe(1);
  });

  test("insert: every environment comes back exactly", async () => {
    using store = newStore();
    const environment = fc.dictionary(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), {
      noNullPrototype: true,
    });
    await fc.assert(
      fc.asyncProperty(fc.uuid(), environment, async (id, environment) => {
        fc.pre(store.functions.get(id) === undefined);
        await store.functions.insert(someFunction(id, { environment }));
        expect(store.functions.get(id)?.environment).toEqual(environment);
      }),
    );
  });

  test("replace: keeps every field, whichever of them change", async () => {
    using store = newStore();
    const environment = fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true });
    let last = someFunction("f1");
    await store.functions.insert(last);
    await fc.assert(
      fc.asyncProperty(anySettings, environment, fc.boolean(), async (settings, environment, isSmall) => {
        const { timeout_ms, secrets } = settings;
        const changes = isSmall ? { timeout_ms, secrets } : { ...settings, environment };
        const next = { ...last, ...changes, version: last.version + 1 };
        await store.functions.replace(last, next);
        expect(store.functions.list()).toStrictEqual([next]);
        last = next;
      }),
      { numRuns: 200 },
    );
  });

  test("replace: of several in one commit, what is based on the record as it is then", async () => {
    using store = newStore();
    const digest = "busybox@sha256:2";
    await store.functions.insert(someFunction("f1", { name: "one", digest }));
    await store.functions.insert(someFunction("f2", { name: "two" }));
    const [first, other] = [store.functions.get("f1"), store.functions.get("f2")];
    if (first === undefined || other === undefined) throw new Error("not inserted");
    const second = { ...first, timeout_ms: 2, version: 2 };
    // Its version exists: it is undone after its record was written.
    const undone = { ...second, timeout_ms: 9, version: 1 };
    const third = { ...second, timeout_ms: 3, version: 3 };
    const { functions } = store;
    const results = await Promise.allSettled([
      functions.replace(first, second),
      functions.replace(first, { ...first, timeout_ms: 7 }),
      functions.replace(second, undone),
      functions.replace(undone, { ...undone, timeout_ms: 8 }),
      functions.replace(other, { ...other, name: "one" }),
      functions.replace(second, third),
      functions.renameImage({ before: String(third.image_id), image_id: "sha256:new", digest }),
      functions.replace(third, { ...third, timeout_ms: 4, version: 4 }),
    ]);
    const kinds = results.map((result) => (result.status === "fulfilled" ? "done" : (result.reason as Error).name));
    expect(kinds).toEqual([
      "done",
      "StaleError",
      "SQLiteError",
      "StaleError",
      "AppError",
      "done",
      "done",
      "StaleError",
    ]);
    expect(functions.get("f1")).toMatchObject({ timeout_ms: 3, version: 3, name: "one", image_id: "sha256:new" });
    expect(functions.get("f2")).toStrictEqual(other);
  });

  test("find: by id, then by name", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1", { name: "one" }));
    await store.functions.insert(someFunction("odd-id", { name: "two" }));
    expect(store.functions.find("f1")?.name).toBe("one");
    expect(store.functions.find("one")?.id).toBe("f1");
    expect(store.functions.find("two")?.id).toBe("odd-id");
    expect(store.functions.find("odd-id")?.name).toBe("two");
    expect(store.functions.find("three")).toBeUndefined();
    expect(store.functions.get("one")).toBeUndefined();
  });

  test.each(["taken", "odd-id"])("insert and update: the name %s is taken", async (name) => {
    using store = newStore();
    await store.functions.insert(someFunction("odd-id", { name: "taken" }));
    await store.functions.insert(someFunction("f2"));
    const conflict = `A function named "${name}" exists already: choose another name, or PATCH that one`;
    for (const run of [
      () => store.functions.insert(someFunction("f3", { name })),
      () => changeFunction(store, "f2", (current) => ({ ...current, name })),
    ]) {
      const error: unknown = await run().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ reason: "conflict", message: conflict });
    }
    expect(store.functions.list().map(({ id }) => id)).toEqual(["odd-id", "f2"]);
  });

  test("insert and update: many functions may have no name, and one may keep its own", async () => {
    using store = newStore();
    for (const id of ["f1", "f2", "f3"]) await store.functions.insert(someFunction(id));
    expect(await changeFunction(store, "f1", (current) => ({ ...current, name: "mine" }))).toBeDefined();
    expect(await changeFunction(store, "f1", (current) => ({ ...current, timeout_ms: 5000 }))).toEqual({
      before: someFunction("f1", { name: "mine" }),
      after: someFunction("f1", { name: "mine", timeout_ms: 5000 }),
    });
    expect(store.functions.get("f1")).toMatchObject({ name: "mine", timeout_ms: 5000 });
    expect(await changeFunction(store, "unknown", (current) => current)).toBeUndefined();
  });

  test("delete: returns the deleted record", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1"));
    expect(await store.functions.delete("f1", { cascade: false })).toEqual(someFunction("f1"));
    expect(await store.functions.delete("f1", { cascade: true })).toBeUndefined();
    expect(store.functions.list()).toEqual([]);
  });

  test("delete: a function with routes only with cascade", async () => {
    using store = newStore();
    const [one, other] = [someFunction("f1"), someFunction("f2")];
    await store.functions.insert(one);
    await store.functions.insert(other);
    for (const path of ["/a", "/b"]) await store.routes.insert({ ...ROUTE_DEFAULTS, id: path, path, function: one });
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r3", path: "/c", function: other });
    expect(await rejectionOf(store.functions.delete("f1", { cascade: false }))).toMatchObject({
      reason: "conflict",
      message: 'Cannot delete function "f1": 2 routes lead to it; delete routes first, or use ?cascade=true',
    });
    expect(await rejectionOf(store.functions.delete("f2", { cascade: false }))).toMatchObject({
      message: expect.stringContaining("1 route leads to it"),
    });
    expect(await store.functions.delete("f1", { cascade: true })).toBeDefined();
    expect(store.routes.list().map(({ path }) => path)).toEqual(["/c"]);
  });

  test("delete: a follower of others only with cascade, which clears what names it", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1", { name: "last" }));
    await store.functions.insert(someFunction("f2", { name: "first", on_success: "f1", on_failure: "f1" }));
    await store.functions.insert(someFunction("f3", { on_failure: "f1", on_success: "f2" }));
    expect(await rejectionOf(store.functions.delete("f1", { cascade: false }))).toMatchObject({
      reason: "conflict",
      message:
        'Cannot delete function "f1": the functions "first", "f3" name it as "on_success" or "on_failure"; change that first, or use ?cascade=true',
    });
    expect(await rejectionOf(store.functions.delete("f2", { cascade: false }))).toMatchObject({
      message: expect.stringContaining('the function "f3" names it as '),
    });
    // Kept in memory until they change.
    for (const key of ["f2", "f3", "first"]) expect(store.functions.find(key)?.on_failure).toBe("f1");
    expect(await store.functions.delete("f1", { cascade: true })).toMatchObject({ name: "last" });
    expect(store.functions.find("first")).toMatchObject({ on_success: null, on_failure: null });
    expect(store.functions.get("f2")).toMatchObject({ on_success: null, on_failure: null });
    expect(store.functions.get("f3")).toMatchObject({ on_success: "f2", on_failure: null });
    expect(store.functions.links()).toEqual([
      { id: "f2", name: "first", on_success: null, on_failure: null },
      { id: "f3", name: null, on_success: "f2", on_failure: null },
    ]);
    // It cannot lead to itself, but an older server may have let it.
    await changeFunction(store, "f2", (current) => ({ ...current, on_success: "f2" }));
    await store.functions.delete("f3", { cascade: false });
    expect(await store.functions.delete("f2", { cascade: false })).toBeDefined();
  });

  test("list: oldest first", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("late", { created_at: "2026-02-01T00:00:00.000Z" }));
    await store.functions.insert(someFunction("z", { created_at: "2026-01-01T00:00:00.000Z" }));
    await store.functions.insert(someFunction("a", { created_at: "2026-01-01T00:00:00.000Z" }));
    expect(store.functions.list().map(({ id }) => id)).toEqual(["z", "a", "late"]);
  });
});
