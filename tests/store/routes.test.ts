import { describe, expect, test } from "bun:test";
import { ROUTE_DEFAULTS } from "../../lib/domain/route-options.ts";
import { newStore, someFunction, thrownBy } from "./support.ts";

function withFunctions() {
  const store = newStore();
  const functions = { f1: someFunction("f1", { environment: { A: "1" } }), f2: someFunction("f2") };
  store.functions.insert(functions.f1);
  store.functions.insert(functions.f2);
  return { store, ...functions };
}

describe("RouteStore", () => {
  test("insert: found by id and by exact path, with its function", () => {
    const { store, f1 } = withFunctions();
    using _ = store;
    const route = { ...ROUTE_DEFAULTS, id: "r1", path: "/é hello", function: f1 };
    store.routes.insert(route);
    expect(store.routes.get("r1")).toStrictEqual(route);
    expect(store.routes.getByPath("/é hello")).toStrictEqual(route);
    expect(store.routes.list()).toStrictEqual([route]);
    expect(store.routes.count()).toBe(1);
    for (const path of ["/É hello", "/é hello/", "/é", ""]) expect(store.routes.getByPath(path)).toBeUndefined();
    expect(store.routes.get("/é hello")).toBeUndefined();
  });

  test("insert and update: a taken path is a conflict that names it", () => {
    const { store, f1, f2 } = withFunctions();
    using _ = store;
    store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    store.routes.insert({ ...ROUTE_DEFAULTS, id: "r2", path: "/b", function: f1 });
    const conflict = {
      reason: "conflict",
      message: 'A route with the path "/a" exists already: choose another path, or PATCH that one',
    };
    expect(
      thrownBy(() => store.routes.insert({ ...ROUTE_DEFAULTS, id: "r3", path: "/a", function: f2 })),
    ).toMatchObject(conflict);
    expect(
      thrownBy(() => store.routes.update({ ...ROUTE_DEFAULTS, id: "r2", path: "/a", function: f2 })),
    ).toMatchObject(conflict);
    expect(store.routes.getByPath("/b")?.function.id).toBe("f1");
  });

  test("insert and update: a function that was deleted meanwhile is not found", () => {
    const { store, f1, f2 } = withFunctions();
    using _ = store;
    store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    store.functions.delete("f2", { cascade: false });
    const gone = { reason: "not_found", message: 'No function "f2": it was deleted meanwhile' };
    expect(
      thrownBy(() => store.routes.insert({ ...ROUTE_DEFAULTS, id: "r2", path: "/b", function: f2 })),
    ).toMatchObject(gone);
    expect(
      thrownBy(() => store.routes.update({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f2 })),
    ).toMatchObject(gone);
  });

  test("update and delete: tell whether there was one", () => {
    const { store, f1, f2 } = withFunctions();
    using _ = store;
    store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    expect(store.routes.update({ ...ROUTE_DEFAULTS, id: "r1", path: "/z", function: f2 })).toBe(true);
    expect(store.routes.getByPath("/z")).toStrictEqual({ ...ROUTE_DEFAULTS, id: "r1", path: "/z", function: f2 });
    expect(store.routes.getByPath("/a")).toBeUndefined();
    expect(store.routes.update({ ...ROUTE_DEFAULTS, id: "r9", path: "/y", function: f2 })).toBe(false);
    expect(store.routes.delete("r1")).toBe(true);
    expect(store.routes.delete("r1")).toBe(false);
    expect(store.routes.list()).toEqual([]);
  });

  test("a route shows its function as it is now", () => {
    const { store, f1 } = withFunctions();
    using _ = store;
    store.routes.insert({ ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: f1 });
    store.functions.update({ ...f1, image: "busybox:2" });
    expect(store.routes.getByPath("/a")?.function.image).toBe("busybox:2");
    expect(store.routes.list()[0]?.function.image).toBe("busybox:2");
  });
});
