import { Database as Sqlite } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { ROUTE_DEFAULTS } from "../../../lib/domain/routes/options.ts";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { AppError } from "../../../lib/domain/errors.ts";
import { MIGRATIONS } from "../../../lib/store/sqlite/migrations/migrations.ts";
import { openDatabase } from "../../../lib/store/sqlite/open.ts";
import { StoreError } from "../../../lib/store/errors.ts";
import { databasePath, openSqliteStore } from "../../../lib/store/sqlite/store.ts";
import {
  listeningLog,
  newStore,
  rejectionOf,
  scratchDirectory,
  someFunction,
  someInvocation,
  stillClock,
  thrownBy,
} from "./support/stores.ts";

function messageOf(run: () => unknown): string {
  const error = thrownBy(run);
  expect(error).toBeInstanceOf(StoreError);
  return error instanceof Error ? error.message : "";
}

describe("openDatabase", () => {
  // C12
  test("takes the rights of others from a database that exists, its log and its copies", () => {
    using scratch = scratchDirectory();
    const path = databasePath(scratch.path);
    newStore(path)[Symbol.dispose]();
    writeFileSync(`${path}.go-serverless`, "");
    const names = ["", "-owner", ".go-serverless"];
    for (const name of names) chmodSync(`${path}${name}`, 0o644);
    const { log, events } = listeningLog();
    using _database = openDatabase(path, { log, clock: stillClock() });
    for (const name of readdirSync(scratch.path)) expect(statSync(scratch.file(name)).mode & 0o777).toBe(0o600);
    const files = ["", ".go-serverless"].map((name) => `${path}${name}`);
    expect(events).toContainEqual(
      expect.objectContaining({ event: "others could read the database, and no longer can", files }),
    );
  });

  test("makes the directory and the file, readable for their owner only, and leaves one file behind", async () => {
    using scratch = scratchDirectory();
    const path = databasePath(scratch.file("new/data"));
    {
      using store = newStore(path);
      await store.functions.insert(someFunction("f1"));
      for (const name of readdirSync(scratch.file("new/data"))) {
        expect(statSync(scratch.file(`new/data/${name}`)).mode & 0o777).toBe(0o600);
      }
      expect(statSync(scratch.file("new/data")).mode & 0o777).toBe(0o700);
    }
    expect(readdirSync(scratch.file("new/data")).toSorted()).toEqual(["database.db", "database.db-owner"]);
    using store = newStore(path);
    expect(store.functions.list()).toHaveLength(1);
    await store.check();
  });

  test("an empty file becomes a database, with a warning", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    writeFileSync(path, "");
    const { log, events } = listeningLog();
    using store = openSqliteStore(path, { log, clock: stillClock() });
    await store.functions.insert(someFunction("f1"));
    expect(events).toContainEqual(expect.objectContaining({ level: "warn", path }));
  });

  test.each<[what: string, spoil: (path: string) => void, problem: string]>([
    [
      "no database",
      (path) => writeFileSync(path, "hello world\n".repeat(1000)),
      "is not a SQLite database: restore a backup",
    ],
    ["a short text", (path) => writeFileSync(path, "{}"), "is not a SQLite database: restore a backup"],
    ["a directory", (path) => mkdirSync(path), "is not a file: move it away"],
    [
      "a newer schema",
      (path) => withSqlite(path, "pragma application_id = 0x534c4950; pragma user_version = 99; create table x (y)"),
      `was written by a newer slipway (schema 99, this one knows ${MIGRATIONS.length}): use that version`,
    ],
    [
      "another program's tables",
      (path) => withSqlite(path, "create table users (id)"),
      "is a database of another program",
    ],
    [
      "another program's functions",
      (path) => withSqlite(path, "create table functions (id, body)"),
      "is a database of another program",
    ],
    [
      "another program's numbers",
      (path) => withSqlite(path, "pragma application_id = 7; pragma user_version = 1"),
      "is a database of another program",
    ],
    [
      "nothing but a write-ahead log",
      (path) => {
        writeFileSync(path, "");
        writeFileSync(`${path}-wal`, "x".repeat(5000));
      },
      "is damaged (it is empty, while its write-ahead log is not)",
    ],
  ])("refuses %s and leaves it unchanged", (_, spoil, problem) => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    spoil(path);
    const before = contentOf(path);
    const message = messageOf(() => newStore(path));
    expect(message).toContain(JSON.stringify(path));
    expect(message).toContain(problem);
    expect(contentOf(path)).toEqual(before);
  });

  test("one whose tables were changed is refused, also if only a later statement would show it", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    newStore(path)[Symbol.dispose]();
    {
      using sqlite = new Sqlite(path);
      sqlite.run("alter table builds drop column output");
    }
    expect(messageOf(() => newStore(path))).toContain("is damaged (");
  });

  test("refuses a data path that is a file", () => {
    using scratch = scratchDirectory();
    writeFileSync(scratch.file("data"), "");
    const path = databasePath(scratch.file("data"));
    expect(messageOf(() => newStore(path))).toContain(`Cannot open the database ${JSON.stringify(path)}`);
  });

  test("refuses one that another program is writing to", () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    using other = new Sqlite(path);
    other.run("create table if not exists x (y); begin exclusive");
    expect(messageOf(() => newStore(path))).toContain("is in use by another program: stop that one");
  });

  test("a truncated one is refused and left unchanged, wherever it was cut", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    const whole = await fullDatabase(path);
    // At every page, and at odd places.
    const cuts = [1, 15, 16, 27, 28, 99, 100, 500, ...range(4096, whole.length, 4096), whole.length - 1, 5000, 40_000];
    for (const cut of cuts) {
      writeFileSync(path, whole);
      truncateSync(path, cut);
      const before = readFileSync(path);
      expect(messageOf(() => newStore(path))).toMatch(/is damaged|is not a SQLite database/);
      expect(readFileSync(path).equals(before)).toBe(true);
    }
  });

  test("one with garbage in it is refused and left unchanged, or works", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    const whole = await fullDatabase(path);
    const place = fc.integer({ min: 0, max: whole.length - 1 });
    const garbage = fc.uint8Array({ minLength: 1, maxLength: 600 });
    let refused = 0;
    fc.assert(
      fc.property(place, garbage, (at, bytes) => {
        const spoilt = Buffer.from(whole);
        spoilt.set(bytes.subarray(0, whole.length - at), at);
        writeFileSync(path, spoilt);
        try {
          using store = newStore(path);
          store.functions.count();
          store.routes.count();
        } catch (error) {
          expect(error).toBeInstanceOf(StoreError);
          expect(readFileSync(path).equals(spoilt)).toBe(true);
          refused += 1;
        }
      }),
      {
        numRuns: 150,
        examples: [
          [0, new Uint8Array(600)],
          [100, new Uint8Array(600).fill(255)],
          // The name of a column, in the schema.
          [whole.indexOf("exit_code integer"), new Uint8Array([139, 137, 253])],
        ],
      },
    );
    expect(refused).toBeGreaterThan(0);
  });
});

describe("the owner of a database", () => {
  test("a second one in the same process is refused", async () => {
    using scratch = scratchDirectory();
    const path = scratch.file("database.db");
    const first = newStore(path);
    expect(messageOf(() => newStore(path))).toContain("Another slipway uses the database");
    await first.functions.insert(someFunction("f1"));
    first[Symbol.dispose]();
    using second = newStore(path);
    expect(second.functions.count()).toBe(1);
  });

  test("a second process is refused for as long as the first lives, however that ends", async () => {
    using scratch = scratchDirectory();
    const path = databasePath(scratch.path);
    for (const end of ["asked", "killed"]) {
      const first = startWriter(scratch.path, "hold");
      await first.lines.next();
      expect(messageOf(() => newStore(path))).toBe(
        `Another slipway uses the database ${JSON.stringify(path)}: stop that one, or choose another directory with --data-path`,
      );
      if (end === "asked") await first.child.stdin.write("stop\n");
      else first.child.kill("SIGKILL");
      await first.child.stdin.end();
      await first.child.exited;
      newStore(path)[Symbol.dispose]();
    }
  });
});

describe("Database transaction", () => {
  test("durable ones are synced at their commit, fast ones are not", () => {
    using scratch = scratchDirectory();
    using database = openDatabase(scratch.file("database.db"), { log: listeningLog().log, clock: stillClock() });
    const synchronous = () => database.prepare("pragma synchronous").get();
    expect(database.transaction("durable", synchronous)).toEqual({ synchronous: 2 });
    expect(database.transaction("fast", synchronous)).toEqual({ synchronous: 1 });
    const failing = () => {
      throw new Error("on purpose");
    };
    expect(() => database.transaction("durable", failing)).toThrow("on purpose");
    expect(synchronous()).toEqual({ synchronous: 1 });
  });

  test("a throw undoes all of its writes", async () => {
    using store = newStore();
    await store.functions.insert(someFunction("f1"));
    const taken = someInvocation("i1");
    expect(await rejectionOf(store.functions.insert(someFunction("f1")))).toBeInstanceOf(Error);
    await store.tables.invocations.save([{ invocation: taken }]);
    expect(store.functions.count()).toBe(1);
  });

  test("a full database is storage_full, and works again with room", () => {
    using scratch = scratchDirectory();
    using database = openDatabase(scratch.file("database.db"), { log: listeningLog().log, clock: stillClock() });
    const pages = database.prepare<{ page_count: number }>("pragma page_count").get()?.page_count ?? 0;
    const limit = (most: number) => database.prepare(`pragma max_page_count = ${most}`).get();
    const insert = database.prepare("insert into settings (key, value) values ($key, $value)");
    const write = (key: string) =>
      database.transaction("durable", () => insert.run({ key, value: "x".repeat(100_000) }));
    limit(pages);
    const error = thrownBy(() => write("a"));
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ reason: "storage_full", retry_after_s: 10 });
    database.check();
    limit(1_000_000);
    expect(write("a")).toBe(1);
  });
});

test("kill -9 at random points loses nothing that was acknowledged", async () => {
  for (let round = 0; round < 8; round += 1) {
    using scratch = scratchDirectory();
    const { child, lines } = startWriter(scratch.path, "write");
    await lines.next();
    const acknowledged: { function: string; invocations: string[] }[] = [];
    for (let line = 0; line < round * 7 + 1; line += 1) acknowledged.push(JSON.parse((await lines.next()).value ?? ""));
    child.kill("SIGKILL");
    for await (const line of lines) acknowledged.push(JSON.parse(line));
    await child.exited;
    using store = newStore(databasePath(scratch.path));
    for (const each of acknowledged) {
      expect(store.routes.getByPath(`/${each.function}`)?.function.id).toBe(each.function);
      for (const id of each.invocations) {
        expect(store.tables.invocations.get(id)?.status).toBe("succeeded");
        expect(store.tables.invocations.logs(id)).toHaveLength(1);
      }
    }
  }
});

function startWriter(directory: string, mode: "hold" | "write") {
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/support/writer.ts`, directory, mode], {
    stdin: "pipe",
  });
  return { child, lines: completeLines(child.stdout) };
}

/** Drops half of a last line: it was never acknowledged. */
async function* completeLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  return undefined;
}

function withSqlite(path: string, sql: string): void {
  using sqlite = new Sqlite(path);
  sqlite.run(sql);
}

function contentOf(path: string): unknown {
  return statSync(path).isDirectory() ? readdirSync(path) : readFileSync(path).toString("base64");
}

/** The bytes of a database with something in every table. */
async function fullDatabase(path: string): Promise<Buffer> {
  {
    using store = newStore(path);
    await store.settings.ownerId();
    for (let index = 0; index < 50; index += 1) {
      const record = someFunction(`f${index}`, { name: `n${index}`, environment: { A: "x".repeat(500) } });
      await store.functions.insert(record);
      await store.routes.insert({ ...ROUTE_DEFAULTS, id: `r${index}`, path: `/${index}`, function: record });
    }
    const entries = [{ stream: "stdout" as const, text: "x".repeat(5000) }];
    await store.tables.invocations.save(
      range(0, 20, 1).map((index) => ({ invocation: someInvocation(`i${index}`), logs: entries })),
    );
  }
  return readFileSync(path);
}

function range(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, index) => from + index * step);
}
