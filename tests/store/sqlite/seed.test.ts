import { Database as Sqlite } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { FUNCTION_DEFAULTS } from "../../../lib/domain/functions/functions.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import { StoreError } from "../../../lib/store/errors.ts";
import { parseSeedEnvironment } from "../../../lib/store/sqlite/seed.ts";
import { openSqliteStore, type SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { listeningLog, scratchDirectory, START, stillClock, thrownBy } from "./support/stores.ts";

type Cell = string | number | Uint8Array | null;

/** A database as go-serverless writes it. */
function writeSeed(path: string, functions: readonly Cell[][], routes: readonly Cell[][]): void {
  using sqlite = new Sqlite(path);
  sqlite.run("create table functions (id text primary key,image text,environment text not null)");
  sqlite.run("create table routes (id text primary key,path text unique,function_id text references functions(id))");
  const insertFunction = sqlite.query("insert into functions values (?, ?, ?)");
  for (const row of functions) insertFunction.run(...row);
  const insertRoute = sqlite.query("insert into routes values (?, ?, ?)");
  for (const row of routes) insertRoute.run(...row);
  // One that others can read is open.test.ts's subject: it is one warning more.
  chmodSync(path, 0o600);
}

function open(path: string): { store: SqliteStore; events: Record<string, unknown>[] } {
  const { log, events } = listeningLog();
  return { store: openSqliteStore(path, { log, clock: stillClock() }), events };
}

function rowsOf(path: string, table: "functions" | "routes"): unknown[] {
  using sqlite = new Sqlite(path, { readonly: true });
  return sqlite.query(`select * from ${table}`).all();
}

const F1 = "0b9a4f2e-3f0c-4a52-9a57-6a3d5e2f8c11";
const F2 = "1c0b5f3f-4a1d-4b63-8b68-7b4e6f3a9d22";

describe("a database of go-serverless", () => {
  test("keeps its functions and routes, and a copy of itself", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    writeSeed(
      path,
      [
        [F1, "ghcr.io/xprnio/serverless-hello-world:latest", "GREETING=hello\nEMPTY=\nEQUATION=a=b\n"],
        [F2, "busybox", ""],
      ],
      [
        ["r1", "/hello-world", F1],
        ["r2", "/", F2],
      ],
    );
    const { store, events } = open(path);
    using _ = store;
    const now = timestamp(START);
    const [first, second] = store.functions.list();
    expect(first).toStrictEqual({
      ...FUNCTION_DEFAULTS,
      id: F1,
      image: "ghcr.io/xprnio/serverless-hello-world:latest",
      image_id: null,
      digest: null,
      environment: { GREETING: "hello", EMPTY: "", EQUATION: "a=b" },
      created_at: now,
      updated_at: now,
    });
    expect(second).toMatchObject({ id: F2, image: "busybox", environment: {} });
    expect(store.routes.list().map(({ id, path, function: { id: to } }) => [id, path, to])).toEqual([
      ["r1", "/hello-world", F1],
      ["r2", "/", F2],
    ]);
    expect(rowsOf(`${path}.go-serverless`, "functions")).toHaveLength(2);
    expect(rowsOf(`${path}.go-serverless`, "routes")).toHaveLength(2);
    expect(events.filter(({ level }) => level === "warn")).toEqual([]);
    expect(events).toContainEqual(
      expect.objectContaining({ event: "took over a database of go-serverless", functions: 2, routes: 2 }),
    );
  });

  test("is taken over once, and is ours from then on", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    writeSeed(path, [[F1, "busybox", "A=1\n"]], [["r1", "/a", F1]]);
    {
      using store = open(path).store;
      await store.functions.delete(F1, { cascade: true });
    }
    const { store, events } = open(path);
    using _ = store;
    expect(store.functions.list()).toEqual([]);
    expect(events).toEqual([]);
  });

  test("is taken over even if it is empty or has no routes", () => {
    using scratch = scratchDirectory();
    writeSeed(scratch.file("empty.db"), [], []);
    {
      using store = open(scratch.file("empty.db")).store;
      expect(store.functions.list()).toEqual([]);
    }
    {
      using sqlite = new Sqlite(scratch.file("half.db"));
      sqlite.run("create table functions (id text primary key,image text,environment text not null)");
      sqlite.run("insert into functions values ('f', 'busybox', 'A=1')");
    }
    using store = open(scratch.file("half.db")).store;
    expect(store.functions.get("f")?.environment).toEqual({ A: "1" });
  });

  test("keeps any ids", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    const ids = ["plain", "with space/and?more", "é", "12", F1.toUpperCase()];
    writeSeed(
      path,
      ids.map((id) => [id, "busybox", ""]),
      ids.map((id, index) => [`route ${id}`, `/${index}`, id]),
    );
    using store = open(path).store;
    expect(store.functions.list().map(({ id }) => id)).toEqual(ids);
    expect(store.routes.list().map(({ id }) => id)).toEqual(ids.map((id) => `route ${id}`));
    for (const [index, id] of ids.entries()) expect(store.routes.getByPath(`/${index}`)?.function.id).toBe(id);
  });

  test("names records that it cannot keep, and leaves them in the copy", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    const functions: Cell[][] = [
      [F1, "busybox", "no line before\nA=1\n=empty\nREQUEST_ID=x\nB\u0001=2\n"],
      ["no-image", null, ""],
      ["empty-image", "", ""],
      ["long-image", "x".repeat(600), ""],
      [null, "busybox", ""],
      [Buffer.from("blob"), Buffer.from("busybox:blob"), Buffer.from("K=v\n")],
      ["number", 5, 6],
    ];
    const routes: Cell[][] = [
      ["slashless", "a", F1],
      ["slashed", "/a", F1],
      ["slashless-kept", "b/c", F1],
      ["no-function", "/d", "gone"],
      ["null-function", "/e", null],
      ["function-not-kept", "/f", "no-image"],
      ["no-path", null, F1],
      ["query", "/g?x", F1],
      ["dots", "../etc", F1],
      [null, "/h", F1],
      ["empty", "", F1],
    ];
    writeSeed(path, functions, routes);
    const { store, events } = open(path);
    using _ = store;
    expect(store.functions.list().map(({ id, image, environment }) => [id, image, environment])).toEqual([
      [F1, "busybox", { A: "1" }],
      ["blob", "busybox:blob", { K: "v" }],
      ["number", "5", {}],
    ]);
    expect(store.routes.list().map(({ id, path }) => [id, path])).toEqual([
      ["slashed", "/a"],
      ["slashless-kept", "/b/c"],
      ["empty", "/"],
    ]);
    const warnings = events.filter(({ level }) => level === "warn");
    const copy = `${path}.go-serverless`;
    for (const expected of [
      { id: "no-image", problem: "it has no image" },
      { id: "empty-image", problem: "it has no image" },
      { id: "long-image", problem: "its image is longer than 512 characters" },
      { id: null, image: "busybox", problem: "it has no id" },
      { function_id: F1, key: "no line before", problem: expect.stringContaining('no "="') },
      { function_id: F1, key: "", problem: expect.stringContaining("empty") },
      { function_id: F1, key: "REQUEST_ID", problem: expect.stringContaining("set by the server") },
      { function_id: F1, key: "B\u0001", problem: expect.stringContaining("control character") },
      { function_id: "number", key: "6", problem: expect.stringContaining('no "="') },
      { id: "slashless", path: "a", problem: 'another route has the path "/a"' },
      { id: "no-function", problem: "its function does not exist" },
      { id: "null-function", problem: "its function does not exist" },
      { id: "function-not-kept", problem: "its function does not exist" },
      { id: "no-path", problem: "it has no path" },
      { id: "query", problem: expect.stringContaining('contains "?"') },
      { id: "dots", problem: expect.stringContaining('".."') },
      { id: null, path: "/h", problem: "it has no id" },
    ]) {
      expect(warnings).toContainEqual(expect.objectContaining({ ...expected, copy }));
    }
    expect(warnings).toHaveLength(17);
    expect(rowsOf(copy, "functions")).toHaveLength(functions.length);
    expect(rowsOf(copy, "routes")).toHaveLength(routes.length);
  });

  test("keeps an existing copy", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    writeSeed(path, [[F1, "busybox", ""]], []);
    writeFileSync(`${path}.go-serverless`, "earlier");
    const { store, events } = open(path);
    using _ = store;
    expect(store.functions.count()).toBe(1);
    expect(readFileSync(`${path}.go-serverless`, "utf8")).toBe("earlier");
    expect(events).toContainEqual(expect.objectContaining({ level: "warn", copy: `${path}.go-serverless` }));
  });

  test("is left unchanged when the takeover fails", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    writeSeed(path, [[F1, "busybox", "A=1\n"]], [["r1", "/a", F1]]);
    {
      // It conflicts with a table of ours.
      using sqlite = new Sqlite(path);
      sqlite.run("create table settings (x)");
    }
    const before = readFileSync(path);
    expect(thrownBy(() => open(path))).toBeInstanceOf(StoreError);
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(existsSync(`${path}-wal`)).toBe(false);
  });
});

describe("parseSeedEnvironment", () => {
  test.each<[text: string, environment: Record<string, string>]>([
    ["", {}],
    ["A=1\n", { A: "1" }],
    ["A=1", { A: "1" }],
    ["A=\n", { A: "" }],
    ["A=one\ntwo\nB=3\n", { A: "one\ntwo", B: "3" }],
    ["A=one\n\n", { A: "one\n" }],
    ["A=one\n\ntwo\n", { A: "one\n\ntwo" }],
    ["A=x\r\n", { A: "x\r" }],
    ["A=1\nA=2\n", { A: "2" }],
    ["__proto__=x\n", JSON.parse('{"__proto__": "x"}')],
  ])("%j", (text, environment) => {
    const dropped: string[] = [];
    expect(parseSeedEnvironment(text, (key) => dropped.push(key))).toEqual(environment);
    expect(dropped).toEqual([]);
  });

  test("returns what go-serverless wrote, if no line of a value looks like a key", () => {
    const key = fc.stringMatching(/^[A-Z_]{1,8}$/).filter((name) => name !== "REQUEST_ID");
    const value = fc
      .tuple(fc.string(), fc.array(fc.string().map((line) => line.replaceAll("=", ""))))
      .map(([first, rest]) => {
        return [first.replaceAll("\n", ""), ...rest].join("\n");
      });
    fc.assert(
      fc.property(fc.dictionary(key, value, { noNullPrototype: true }), (environment) => {
        const written = Object.entries(environment).map(([key, value]) => `${key}=${value}\n`);
        expect(parseSeedEnvironment(written.join(""), () => undefined)).toEqual(environment);
      }),
      { numRuns: 500 },
    );
  });
});
