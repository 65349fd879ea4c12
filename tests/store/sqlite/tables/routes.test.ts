import { ROUTE_DEFAULTS } from "../../../../lib/domain/routes/options.ts";
import { describe, expect, test } from "bun:test";
import type { Function } from "../../../../lib/domain/functions/functions.ts";
import type { Route } from "../../../../lib/domain/routes/routes.ts";
import { changeFunction, changeRoute, newStore, rejectionOf, someFunction } from "../support/stores.ts";

async function withFunctions() {
  const store = newStore();
  const functions = { f1: someFunction("f1", { environment: { A: "1" } }), f2: someFunction("f2") };
  await store.functions.insert(functions.f1);
  await store.functions.insert(functions.f2);
  return { store, ...functions };
}

describe("RouteTable", () => {
  test("insert: found by id and by exact path, with its function", async () => {
    const { store, f1 } = await withFunctions();
    using _ = store;
    const route = { ...ROUTE_DEFAULTS, id: "r1", path: "/é hello", function: f1 };
    await store.routes.insert(route);
    expect(store.routes.get("r1")).toStrictEqual(route);
    expect(store.routes.getByPath("/é hello")).toStrictEqual(route);
    expect(store.routes.list()).toStrictEqual([route]);
    expect(store.routes.count()).toBe(1);
    for (const path of ["/É hello", "/é hello/", "/é", ""]) expect(store.routes.getByPath(path)).toBeUndefined();
    expect(store.routes.get("/é hello")).toBeUndefined();
  });

  test("insert and update: a taken path is a conflict that names it", async () => {
    const { store, f1, f2 } = await withFunctions();
    using _ = store;
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r2", path: "/b", function: f1 });
    const conflict = {
      reason: "conflict",
      message: 'A route with the path "/a" exists already: choose another path, or PATCH that one',
    };
    expect(
      await rejectionOf(store.routes.insert({ ...ROUTE_DEFAULTS, id: "r3", path: "/a", function: f2 })),
    ).toMatchObject(conflict);
    expect(await rejectionOf(changeRoute(store, "r2", (current) => ({ ...current, path: "/a" })))).toMatchObject(
      conflict,
    );
    expect(store.routes.getByPath("/b")?.function.id).toBe("f1");
  });

  test("insert and update: a function that was deleted meanwhile is not found", async () => {
    const { store, f1, f2 } = await withFunctions();
    using _ = store;
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    await store.functions.delete("f2", { cascade: false });
    const gone = {
      reason: "not_found",
      message: 'No function "f2": it was deleted meanwhile, GET /v1/functions lists the others',
    };
    expect(
      await rejectionOf(store.routes.insert({ ...ROUTE_DEFAULTS, id: "r2", path: "/b", function: f2 })),
    ).toMatchObject(gone);
    expect(await rejectionOf(changeRoute(store, "r1", (current) => ({ ...current, function: f2 })))).toMatchObject(
      gone,
    );
  });

  test("update and delete: return the earlier record, or undefined if there was none", async () => {
    const { store, f1, f2 } = await withFunctions();
    using _ = store;
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    const change = (current: Route) => ({ ...current, path: "/z", function: f2 });
    expect(await changeRoute(store, "r1", change)).toEqual({
      before: { ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 },
      after: { ...ROUTE_DEFAULTS, id: "r1", path: "/z", function: f2 },
    });
    expect(store.routes.getByPath("/z")).toStrictEqual({ ...ROUTE_DEFAULTS, id: "r1", path: "/z", function: f2 });
    expect(store.routes.getByPath("/a")).toBeUndefined();
    expect(await changeRoute(store, "r9", change)).toBeUndefined();
    expect(await store.routes.delete("r1")).toEqual({ ...ROUTE_DEFAULTS, id: "r1", path: "/z", function: f2 });
    expect(await store.routes.delete("r1")).toBeUndefined();
    expect(store.routes.list()).toEqual([]);
  });

  test("match: follows every change, including deletion with a function", async () => {
    const { store, f1, f2 } = await withFunctions();
    using _ = store;
    const put = (id: string, path: string, fn = f1) =>
      store.routes.insert({ ...ROUTE_DEFAULTS, id, path, function: fn });
    const matched = (path: string) => {
      const found = store.routes.match(path);
      return found && [found.route.id, found.path_rest];
    };
    await put("r1", "/a/*");
    expect(matched("/a/b")).toEqual(["r1", "b"]);
    await put("r2", "/a/b/*", f2);
    await put("r3", "/a/b", f2);
    expect([matched("/a/b/c"), matched("/a/b"), matched("/a/*")]).toEqual([
      ["r2", "c"],
      ["r3", null],
      ["r1", "*"],
    ]);
    await rejectionOf(put("r4", "/a/b/*"));
    expect(matched("/a/b/c")).toEqual(["r2", "c"]);
    await changeRoute(store, "r1", (current) => ({ ...current, path: "/z/*" }));
    expect([matched("/a/x"), matched("/z/x/y")]).toEqual([undefined, ["r1", "x/y"]]);
    await changeRoute(store, "r1", (current) => ({ ...current, methods: ["GET"] }));
    expect(store.routes.match("/z")?.route.methods).toEqual(["GET"]);
    await changeFunction(store, "f2", (current) => ({ ...current, image: "busybox:2" }));
    expect(store.routes.match("/a/b")?.route.function.image).toBe("busybox:2");
    await put("r5", "/a/*");
    await store.functions.delete("f2", { cascade: true });
    expect([matched("/a/b/c"), matched("/a/b")]).toEqual([
      ["r5", "b/c"],
      ["r5", "b"],
    ]);
    await put("r6", "/a/b");
    expect(matched("/a/b")).toEqual(["r6", null]);
    await store.routes.delete("r5");
    expect([matched("/a/b"), matched("/a/b/c")]).toEqual([["r6", null], undefined]);
  });

  test("match: finds routes of an existing database", async () => {
    const { store, f1 } = await withFunctions();
    using _ = store;
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a/*", function: f1 });
    await Promise.all([
      store.routes.delete("r1"),
      store.routes.insert({ ...ROUTE_DEFAULTS, id: "r2", path: "/a/*", function: f1 }),
    ]);
    expect(store.routes.match("/a/b")?.route.id).toBe("r2");
  });

  test("a route shows its function as it is now", async () => {
    const { store, f1 } = await withFunctions();
    using _ = store;
    await store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    await changeFunction(store, "f1", (current) => ({ ...current, image: "busybox:2" }));
    expect(store.routes.getByPath("/a")?.function.image).toBe("busybox:2");
    expect(store.routes.list()[0]?.function.image).toBe("busybox:2");
  });
});

test("routes: a host has one route, and is free when that leaves it", async () => {
  const { store, f1 } = await withFunctions();
  using _ = store;
  const route = (id: string, path: string, fn: Function): Route => ({ ...ROUTE_DEFAULTS, id, path, function: fn });
  expect([store.routes.hasHosts, store.routes.atHost("a.example")]).toEqual([false, undefined]);
  const at = (id: string, ...hosts: string[]): Route => ({ ...route(id, "/", f1), path: null, hosts });
  const r1 = at("r1", "a.example", "b.example");
  await store.routes.insert(r1);
  await store.routes.insert(route("r2", "/", f1));
  expect([store.routes.hasHosts, store.routes.atHost("b.example"), store.routes.get("r1")]).toEqual([true, r1, r1]);
  expect(store.routes.match("/r1")).toBeUndefined();
  expect(store.routes.list().map(({ path, hosts }) => [path, hosts])).toEqual([
    [null, ["a.example", "b.example"]],
    ["/", []],
  ]);
  const taken = await rejectionOf(store.routes.insert(at("r3", "c.example", "b.example")));
  expect(taken).toMatchObject({ reason: "conflict", message: expect.stringContaining('"b.example"') });
  expect([store.routes.atHost("c.example"), store.routes.get("r3")]).toEqual([undefined, undefined]);
  const moved = { ...r1, hosts: ["b.example"] };
  await store.routes.replace(r1, moved);
  await store.routes.insert(at("r3", "a.example"));
  expect([store.routes.atHost("a.example")?.id, store.routes.atHost("b.example")?.id]).toEqual(["r3", "r1"]);
  await store.routes.delete("r3");
  expect(store.routes.atHost("a.example")).toBeUndefined();
  // Both hosts change their routes at once.
  const r4 = at("r4", "a.example");
  await store.routes.insert(r4);
  const writes = [
    { name: "a", before: moved, after: at("r1", "a.example") },
    { name: "b", before: r4, after: at("r4", "b.example") },
  ];
  await store.applyManifest({ functions: [], routes: writes }, { revision: store.revision, dry_run: false });
  expect([store.routes.atHost("a.example")?.id, store.routes.atHost("b.example")?.id]).toEqual(["r1", "r4"]);
  await store.functions.delete("f1", { cascade: true });
  expect([store.routes.atHost("a.example"), store.routes.list()]).toEqual([undefined, []]);
});
