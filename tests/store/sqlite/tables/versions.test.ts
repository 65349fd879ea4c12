import { Database as Sqlite } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import type { Function } from "../../../../lib/domain/functions/functions.ts";
import { VERSIONS } from "../../../../lib/domain/limits.ts";
import { ROUTE_DEFAULTS, type RouteOptions } from "../../../../lib/domain/routes/options.ts";
import { numbered } from "../../../../lib/domain/functions/versions.ts";
import { markVersion, MIGRATIONS } from "../../../../lib/store/sqlite/migrations/migrations.ts";
import { functionRow } from "../../../../lib/store/sqlite/tables/functions.ts";
import type { SqliteStore } from "../../../../lib/store/sqlite/store.ts";
import { changeFunction, newStore, scratchDirectory, someFunction } from "../support/stores.ts";
import { inTransaction } from "../../../../lib/store/sqlite/database/group-commit.ts";

const ALL = { below: Number.MAX_SAFE_INTEGER, limit: 10_000 };

async function change(store: SqliteStore, id: string, fields: Partial<Function>): Promise<void> {
  await changeFunction(store, id, (current) => numbered(current, { ...current, ...fields }));
}

async function addRoute(store: SqliteStore, path: string, options: Partial<RouteOptions>): Promise<void> {
  const fn = store.functions.list()[0];
  if (fn === undefined) throw new Error("no function");
  await store.routes.insert({ ...ROUTE_DEFAULTS, id: path, path, function: fn, ...options });
}

async function numbers(store: SqliteStore, id = "f1"): Promise<number[]> {
  return (await store.versions.list(id, ALL)).map(({ version }) => version);
}

describe("VersionTable", () => {
  test("has every version in full, including the first and the current one", async () => {
    using store = newStore();
    const first = someFunction("f1", {
      name: "one",
      environment: { A: "1" },
      secrets: [{ name: "s", environment: null }],
    });
    await store.functions.insert(first);
    await change(store, "f1", { image_id: "sha256:2", read_only: true });
    await change(store, "f1", { name: "other" });
    expect(store.versions.get("f1", 1)).toStrictEqual(first);
    expect(store.versions.get("f1", 2)).toStrictEqual({ ...first, image_id: "sha256:2", read_only: true, version: 2 });
    expect(store.versions.get("f1", 3)).toBeUndefined();
    expect(store.versions.get("f2", 1)).toBeUndefined();
    expect(await numbers(store)).toEqual([2, 1]);
  });

  test("named: follows every change of routes", async () => {
    using store = newStore();
    const fn = someFunction("f1", { name: "one" });
    await store.functions.insert(fn);
    for (let timeout_ms = 1; timeout_ms < 4; timeout_ms++) await change(store, "f1", { timeout_ms });
    const named = () => store.versions.named("f1").toSorted((a, b) => a - b);
    const route = { ...ROUTE_DEFAULTS, id: "r1", path: "/a", function: fn, version: 1 };
    expect(named()).toEqual([]);
    await store.routes.insert(route);
    expect(named()).toEqual([1]);
    await store.routes.replace(route, { ...route, version: 2 });
    expect(named()).toEqual([2]);
    const after = { ...route, id: "r2", path: "/b", version: 3 };
    await store.applyManifest(
      { functions: [], routes: [{ name: "/b", after }] },
      { revision: store.revision, dry_run: false },
    );
    expect(named()).toEqual([2, 3]);
    await store.routes.delete("r1");
    expect(named()).toEqual([3]);
    await store.functions.delete("f1", { cascade: true });
    expect(named()).toEqual([]);
  });

  test("list: pages by number", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1"));
    for (let timeout_ms = 1; timeout_ms < 5; timeout_ms++) await change(store, "f1", { timeout_ms });
    expect((await store.versions.list("f1", { below: 4, limit: 2 })).map(({ version }) => version)).toEqual([3, 2]);
  });

  test("undoes a version together with its change", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1", { name: "one" }));
    await store.functions.insert(someFunction("f2", { name: "two" }));
    const refused = change(store, "f2", { name: "one", timeout_ms: 7 }).catch((error: unknown) => error);
    expect(await refused).toMatchObject({ reason: "conflict" });
    expect(await numbers(store, "f2")).toEqual([1]);
    await change(store, "f2", { timeout_ms: 8 });
    expect(await numbers(store, "f2")).toEqual([2, 1]);
  });

  test("deletes versions with their function", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1"));
    await store.functions.delete("f1", { cascade: true });
    expect(await numbers(store)).toEqual([]);
    expect(store.versions.get("f1", 1)).toBeUndefined();
  });

  test("completes an older version with its image, once", async () => {
    using store = newStore();
    const known = { image_id: "sha256:7", digest: "busybox@sha256:8" };
    await store.functions.insert(someFunction("f1", { image_id: null }));
    await change(store, "f1", known);
    expect(store.versions.get("f1", 1)).toMatchObject(known);
    await store.functions.insert(someFunction("f2", { image_id: null }));
    await change(store, "f2", { timeout_ms: 7, image_id: "sha256:9" });
    expect(store.versions.get("f2", 1)).toMatchObject({ image_id: null });
    await store.versions.complete({ id: "f2", version: 1, ...known });
    expect(store.versions.get("f2", 1)).toMatchObject(known);
    // Once it is known it is never changed.
    await store.versions.complete({ id: "f2", version: 2, ...known });
    expect(store.versions.get("f2", 2)).toMatchObject({ image_id: "sha256:9", digest: null });
  });

  test("knows the versions that routes name", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1"));
    await addRoute(store, "/a", { version: 1 });
    await addRoute(store, "/b", { version: 1, split: { version: 3, percent: 5, sticky_header: null } });
    await addRoute(store, "/c", {});
    expect(new Set(store.versions.named("f1"))).toEqual(new Set([1, 3]));
    expect(store.versions.named("f2")).toEqual([]);
    expect(store.versions.allNamed()).toEqual([
      { id: "f1", version: 1 },
      { id: "f1", version: 3 },
    ]);
  });

  test(`keeps ${VERSIONS}, and those that routes name`, async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1"));
    await addRoute(store, "/a", { version: 1, split: { version: 3, percent: 5, sticky_header: null } });
    for (let i = 0; i < VERSIONS + 4; i++) await change(store, "f1", { timeout_ms: 1_000 + i });
    const left = await numbers(store);
    expect(left).toHaveLength(VERSIONS + 2);
    expect(left.slice(-4)).toEqual([7, 6, 3, 1]);
    expect(left[0]).toBe(VERSIONS + 5);
  });
});

test("A function of an older database has its version 1", async () => {
  using directory = scratchDirectory();
  const file = directory.file("database.db");
  const old = new Sqlite(file, { strict: true });
  inTransaction(old, () => {
    for (const sql of MIGRATIONS.slice(0, 2)) old.run(sql);
    markVersion(old, 2);
  });
  old.run(
    `insert into functions (id, name, image, image_id, digest, environment, timeout_ms, memory_bytes, cpus, pids, created_at, updated_at, read_only)
     values ('f1', 'one', 'busybox:1.36', null, null, '{"A":"1\\n\\"2\\""}', 1000, 268435456, 0.5, 128, '2025-01-01T00:00:00.000Z', '2025-01-02T00:00:00.000Z', 1)`,
  );
  old.close();
  using store = newStore(file);
  const fn = store.functions.get("f1");
  expect(fn).toMatchObject({ version: 1, read_only: true, environment: { A: '1\n"2"' } });
  expect(store.versions.get("f1", 1)).toStrictEqual(fn);
  await change(store, "f1", { timeout_ms: 7 });
  expect(await numbers(store)).toEqual([2, 1]);
});

// Schema 17 has no `isolation`: what it meant by `max_calls` is what its functions and versions have. All of them are `files`.
test("Functions and versions of a database without isolation and contract keep their meaning", async () => {
  using directory = scratchDirectory();
  const file = directory.file("database.db");
  const before = 17;
  const old = new Sqlite(file, { strict: true });
  inTransaction(old, () => {
    for (const sql of MIGRATIONS.slice(0, before)) old.run(sql);
    markVersion(old, before);
  });
  const known = ofSchema17(functionRow(someFunction("f1")));
  const add = (row: object) => {
    const columns = Object.keys(row);
    old
      .prepare(`insert into functions (${columns.join()}) values (${columns.map((name) => `$${name}`).join()})`)
      .run({ ...row });
  };
  const addVersion = (version: number, max_calls: number) =>
    old
      .prepare(
        "insert into versions (function_id, version, image_id, record, created_at) values ('f1', $v, null, $r, '')",
      )
      .run({ v: version, r: JSON.stringify(ofSchema17({ ...someFunction("f1"), version, max_calls })) });
  add({ ...known, version: 3, max_calls: 0 });
  add({ ...known, id: "f2" });
  for (const [index, max_calls] of [1, 5, 0].entries()) addVersion(index + 1, max_calls);
  old.close();
  using store = newStore(file);
  const kept = (fn: Function | undefined) => [fn?.isolation, fn?.max_calls, fn?.scratch_bytes];
  expect(kept(store.functions.get("f1"))).toEqual(["process", 0, null]);
  expect(kept(store.functions.get("f2"))).toEqual(["container", 1, null]);
  expect((await store.versions.list("f1", ALL)).map(kept)).toEqual([
    ["process", 0, null],
    ["process", 5, null],
    ["container", 1, null],
  ]);
  const spoken = {
    contract: "files",
    contract_reason: "default",
    content_type: null,
    output: "raw",
    stream: false,
    port: null,
    port_reason: null,
    extra_ports: [],
    ready_path: null,
    boot_timeout_ms: 60_000,
    concurrency: 1,
    idle_timeout_ms: null,
    idle: null,
    buffer_request: false,
  };
  expect([store.functions.get("f1"), ...(await store.versions.list("f1", ALL))]).toEqual(
    Array.from({ length: 4 }, () => expect.objectContaining(spoken)),
  );
  // The same again is no new version.
  await change(store, "f1", { isolation: "process", max_calls: 0 });
  expect(await numbers(store)).toEqual([3, 2, 1]);
  await change(store, "f1", { isolation: "cell", scratch_bytes: 4_194_304 });
  expect(kept(store.functions.get("f1"))).toEqual(["cell", 0, 4_194_304]);
  expect(store.versions.get("f1", 4)).toStrictEqual(store.functions.get("f1"));
});

const LATER = new Set([
  "isolation",
  "scratch_bytes",
  "contract",
  "contract_reason",
  "content_type",
  "output",
  "stream",
  "port",
  "port_reason",
  "extra_ports",
  "ready_path",
  "boot_timeout_ms",
  "concurrency",
  "idle_timeout_ms",
  "idle",
  "buffer_request",
]);

function ofSchema17(record: object): object {
  return Object.fromEntries(Object.entries(record).filter(([field]) => !LATER.has(field)));
}

test("A function of go-serverless has its version 1", () => {
  using directory = scratchDirectory();
  const file = directory.file("database.db");
  const seed = new Sqlite(file, { strict: true });
  seed.run("create table functions (id text primary key, image text, environment text not null)");
  seed.run("insert into functions values ('f1', 'busybox', 'A=1\n')");
  seed.close();
  using store = newStore(file);
  const fn = store.functions.get("f1");
  expect(fn).toMatchObject({ version: 1, image_id: null, environment: { A: "1" } });
  expect(store.versions.get("f1", 1)).toStrictEqual(fn);
});

describe("PulledImageTable", () => {
  test("knows the images that no function needs", async () => {
    using store = newStore();
    const images = ["1", "2", "3", "4", "5", "other"].map((id) => ({ image_id: `sha256:${id}`, names: [`app:${id}`] }));
    store.pulledImages.putNow(images);
    const unneeded = (keep: number) => store.pulledImages.unneeded(keep).map(({ names }) => names.join());
    expect(unneeded(1)).toHaveLength(6);
    await store.functions.insert(someFunction("f1"));
    for (const id of ["2", "3", "4", "5"]) await change(store, "f1", { image_id: `sha256:${id}` });
    expect(unneeded(1)).toEqual(["app:1", "app:2", "app:3", "app:4", "app:other"]);
    expect(unneeded(3)).toEqual(["app:1", "app:2", "app:other"]);
    await addRoute(store, "/a", { version: 1, split: { version: 2, percent: 5, sticky_header: null } });
    expect(unneeded(3)).toEqual(["app:other"]);
    expect(store.pulledImages.isNeeded("sha256:1", 3)).toBe(true);
    expect(store.pulledImages.isNeeded("sha256:other", 3)).toBe(false);
    await store.functions.delete("f1", { cascade: true });
    expect(unneeded(1000)).toHaveLength(6);
    await store.pulledImages.delete("sha256:1");
    expect(store.pulledImages.list()).toEqual(images.slice(1));
  });
});
