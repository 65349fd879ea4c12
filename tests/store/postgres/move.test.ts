import { Database as Sqlite } from "bun:sqlite";
import { expect, test } from "bun:test";
import { systemClock } from "../../../lib/clock.ts";
import { StoreError } from "../../../lib/store/errors.ts";
import { Client } from "../../../lib/store/postgres/client/client.ts";
import { moveDatabase, type MovedRows, undoMove } from "../../../lib/store/postgres/move/move.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { openSqliteStore } from "../../../lib/store/sqlite/store.ts";
import { type Database, newDatabase } from "../../support/postgres/test-databases.ts";
import { claimNext, newWork } from "../contract/records.ts";
import {
  listeningLog,
  newStore,
  rejectionOf,
  scratchDirectory,
  someFunction,
  someInvocation,
  thrownBy,
} from "../sqlite/support/stores.ts";

/** Values that are no row's: of totals, which are made anew, and of the list of what an old version has left uncounted. */
const MADE_ANEW: ReadonlySet<string> = new Set(["payload_total", "stats_backlog"]);

/** The values that a column must have for other tables and for checks. */
const GIVEN: Readonly<Record<string, string>> = {
  "invocations.id": "i1",
  invocation_id: "i1",
  "work.state": "leased",
  "deliveries.state": "waiting",
  "stats_backlog.before_id": "i2",
};

interface Column {
  readonly name: string;
  readonly type: string;
}

const options = {
  log: listeningLog().log,
  clock: systemClock,
  server_id: "a",
  dry_run: false,
  progress: () => undefined,
  checkKey: () => undefined,
};

function move(path: string, { url }: Database, more: Partial<typeof options> = {}): Promise<MovedRows> {
  return moveDatabase(path, url, { ...options, ...more });
}

/** Puts a row into each table, with a value in each column that occurs nowhere else; returns the values by table and column. */
function fill(sqlite: Sqlite): Map<string, string> {
  sqlite.run("pragma foreign_keys = off");
  const values = new Map<string, string>();
  let number = 7_000_000;
  const valueOf = (table: string, { name, type }: Column): string | number | Uint8Array => {
    const place = `${table}.${name}`;
    const given = GIVEN[place] ?? GIVEN[name];
    if (given !== undefined) return given;
    number++;
    if (type === "INTEGER") return number;
    if (type === "REAL") return number + 0.5;
    return type === "BLOB" ? new Uint8Array(Buffer.from(`of ${place}`)) : `of ${place}`;
  };
  for (const { name: table } of tablesIn(sqlite)) {
    const columns = sqlite.query<Column, [string]>("select name, type from pragma_table_info(?)").all(table);
    const row = columns.map((column) => [column.name, valueOf(table, column)] as const);
    if (table === "payload_total") continue;
    for (const [name, value] of row)
      values.set(`${table}.${name}`, value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(value));
    if (table === "stats_sizes") {
      const sets = row.filter(([name]) => name !== "resolution").map(([name, value]) => `${name} = ${String(value)}`);
      sqlite.run(`update stats_sizes set ${sets.join()} where resolution = 'hour'`);
      values.delete("stats_sizes.resolution");
      continue;
    }
    const marks = row.map(() => "?").join();
    sqlite
      .query(`insert or ignore into ${table} (${row.map(([name]) => name).join()}) values (${marks})`)
      .run(...row.map(([, value]) => value));
  }
  sqlite.run("insert into settings values ('owner_id', 'the mark of containers')");
  for (const name of values.keys()) if (MADE_ANEW.has(name.split(".")[0] ?? "")) values.delete(name);
  return values;
}

function tablesIn(sqlite: Sqlite): { name: string }[] {
  const sql = "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'";
  return sqlite.query<{ name: string }, []>(sql).all();
}

/** Returns everything that is in a database of PostgreSQL: each row as JSON. */
async function everythingIn({ url }: Database): Promise<string> {
  await using client = new Client(url, { connections: 1 });
  const tables = await client.all<{ name: string }>(
    "select relname::text as name from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r'",
  );
  const rows: string[] = [];
  for (const { name } of tables) {
    const found = await client.all<{ row: string }>(`select row_to_json(a_row)::text as row from "${name}" as a_row`);
    rows.push(...found.map(({ row }) => `${name} ${row}`));
  }
  return rows.join("\n");
}

/** Returns the table and column of each value that has not arrived. */
async function missingIn(database: Database, values: ReadonlyMap<string, string>): Promise<string[]> {
  const all = await everythingIn(database);
  return [...values].filter(([, value]) => !all.includes(value)).map(([name]) => name);
}

test("moveDatabase takes along every column of every table", async () => {
  using directory = scratchDirectory();
  const path = directory.file("database.db");
  newStore(path)[Symbol.dispose]();
  let values: Map<string, string>;
  {
    using sqlite = new Sqlite(path);
    values = fill(sqlite);
  }
  expect(values.size).toBeGreaterThan(200);
  const database = await newDatabase();
  const rows = await move(path, database);
  expect(await missingIn(database, values)).toEqual([]);
  expect(rows).toMatchObject({ functions: 1, invocations: 1, work: 1, settings: 2, uncounted: 1 });
  const all = await everythingIn(database);
  // Rows about the engine are the server's; the mark of its containers is, too, so that it removes what the old one has left.
  for (const [kind, id] of [
    ["settings", "owner_id"],
    ["pulled_images", "of pulled_images.image_id"],
    ["builds", "of builds.id"],
  ]) {
    expect(all).toContain(`configuration {"owner":"a","kind":"${kind}","id":"${id}"`);
  }
  const bytes = Number(values.get("payload_sizes.bytes"));
  const total = bytes + Number(values.get("stored_answers.bytes"));
  expect(all).toContain(`payload_totals {"shard":0,"bytes":${total},"settled_bytes":${bytes}}`);
  expect(all).toMatch(/work \{"invocation_id":"i1".*"state":"leased".*"holder":"a"/);
});

test("that test sees a column and a table that a later migration adds, and that move forgets", async () => {
  using directory = scratchDirectory();
  const path = directory.file("database.db");
  newStore(path)[Symbol.dispose]();
  let values: Map<string, string>;
  {
    using sqlite = new Sqlite(path);
    sqlite.run("alter table work add column later text; create table latest (id text primary key) strict");
    values = fill(sqlite);
  }
  const database = await newDatabase();
  await move(path, database);
  expect((await missingIn(database, values)).toSorted()).toEqual(["latest.id", "work.later"]);
});

test("what has moved reads the same through the store, and new audit entries and calls come after the old ones", async () => {
  using directory = scratchDirectory();
  const path = directory.file("database.db");
  const query = { limit: 10, before: Number.MAX_SAFE_INTEGER, event: null, key_id: null } as const;
  const entry = { event: "change", key_id: null, address: null, method: "PUT", path: "/v1/x", status: 200 } as const;
  let before;
  {
    using store = newStore(path);
    await store.functions.insert(someFunction("f1", { name: "one", environment: { A: "ü\u2028\\" } }));
    await store.functions.insert(someFunction("f2"));
    await store.history.save([
      { invocation: someInvocation("x", { trace_id: "t" }), logs: [{ stream: "stdout", text: "a\0b" }] },
    ]);
    await store.ledger.submit(newWork("w"));
    await store.audit.append([{ ...entry, at: "2026-01-31T12:00:00.000Z" }]);
    before = {
      functions: await store.catalogue(),
      record: await store.history.get("x"),
      logs: await store.history.logs("x"),
      payload: await store.history.payload("w"),
      owner: await store.settings.ownerId(),
      audit: await store.audit.list(query),
    };
  }
  const database = await newDatabase();
  await move(path, database);
  await using store = await openPostgresStore(database.url, options);
  expect({
    functions: await store.catalogue(),
    record: await store.history.get("x"),
    logs: await store.history.logs("x"),
    payload: await store.history.payload("w"),
    owner: await store.settings.ownerId(),
    audit: await store.audit.list(query),
  }).toEqual(before);
  await store.audit.append([{ ...entry, at: "2026-01-31T13:00:00.000Z" }]);
  expect((await store.audit.list(query)).entries.map(({ id }) => id)).toEqual([2, 1]);
  await store.functions.insert(someFunction("f3"));
  expect((await store.catalogue()).functions.map(({ id }) => id)).toEqual(["f1", "f2", "f3"]);
  const lease = { now: systemClock.now(), until: systemClock.now() + 30_000 };
  expect((await claimNext(store.ledger, "f1", lease))?.attempt.attempt).toBe(1);
});

test("what cannot move is refused: a database in use, an older one, one that is not empty, and one of another program", async () => {
  using directory = scratchDirectory();
  const path = directory.file("database.db");
  const refusal = async (database: Database) => {
    const error = await rejectionOf(move(path, database));
    expect(error).toBeInstanceOf(StoreError);
    return error instanceof Error ? error.message : "";
  };
  const target = await newDatabase();
  expect(await refusal(target)).toMatch(/There is no database .* --data-path/);
  {
    using _ = newStore(path);
    expect(await refusal(target)).toMatch(/Another slipway uses the database/);
  }
  await target.run("create table theirs (id integer)");
  expect(await refusal(target)).toMatch(/tables of another program \("theirs"\)/);
  await target.run("drop table theirs");
  const used = await newDatabase();
  await using store = await openPostgresStore(used.url, options);
  await store.functions.insert(someFunction("f1"));
  expect(await refusal(used)).toMatch(/is not empty \(there are rows in "configuration"\)/);
  {
    using sqlite = new Sqlite(path);
    sqlite.run("pragma user_version = 28");
  }
  expect(await refusal(target)).toMatch(/written by an older program: start this version's server on it once/);
  {
    using sqlite = new Sqlite(path);
    sqlite.run("pragma user_version = 1000");
  }
  expect(await refusal(target)).toMatch(/written by a newer slipway \(schema 1000/);
});

test("after a move no server starts on the old database, until the move is undone; a dry run leaves both as they were", async () => {
  using directory = scratchDirectory();
  const path = directory.file("database.db");
  newStore(path)[Symbol.dispose]();
  const database = await newDatabase();
  expect(await move(path, database, { dry_run: true })).toMatchObject({ settings: 0 });
  newStore(path)[Symbol.dispose]();
  await move(path, database);
  const opening = () => openSqliteStore(path, options);
  expect(thrownBy(opening)).toMatchObject({
    message: expect.stringMatching(/has moved to localhost\/d\d+ at 2.* --undo/),
  });
  expect(await rejectionOf(move(path, await newDatabase()))).toMatchObject({
    message: expect.stringContaining("has moved to"),
  });
  expect(undoMove(path)).toMatch(/^localhost\/d\d+$/);
  opening()[Symbol.dispose]();
  expect(undoMove(path)).toBeNull();
});

test("a move that is cut just before or after its commit goes on where it was", async () => {
  using directory = scratchDirectory();
  const path = directory.file("database.db");
  {
    using store = newStore(path);
    await store.functions.insert(someFunction("f1"));
  }
  const database = await newDatabase();
  const opening = () => openSqliteStore(path, options);
  const isEnding = () => {
    using sqlite = new Sqlite(path);
    sqlite.run("update settings set value = json_set(value, '$.state', 'ending') where key = 'moved'");
    expect(thrownBy(opening)).toMatchObject({ message: expect.stringContaining("was about to move to") });
  };
  // Cut before the commit: nothing of it is there.
  await move(path, database);
  isEnding();
  const other = await newDatabase();
  expect(await rejectionOf(move(path, other))).toMatchObject({ message: expect.stringContaining("was about to move") });
  await database.run("delete from configuration; update configuration_state set version = 0");
  expect(await move(path, database)).toMatchObject({ functions: 1 });
  // Cut after it: all is there, and the server may have gone on already.
  isEnding();
  await using store = await openPostgresStore(database.url, options);
  await store.functions.insert(someFunction("f2"));
  expect(await move(path, database)).toBeNull();
  expect(thrownBy(opening)).toMatchObject({ message: expect.stringContaining("has moved to") });
});
