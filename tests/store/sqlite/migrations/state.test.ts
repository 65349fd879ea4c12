import { Database as Sqlite } from "bun:sqlite";
import { expect, test } from "bun:test";
import { Database } from "../../../../lib/store/sqlite/database/database.ts";
import { create, isAsCreated, migrate } from "../../../../lib/store/sqlite/migrations/migrations.ts";
import { openTables } from "../../../../lib/store/sqlite/tables.ts";
import { stillClock } from "../support/stores.ts";

/** Everything in a database: its objects in the order of their making, the rows of its tables, and its marks. */
function contentOf(make: (sqlite: Sqlite) => void) {
  using sqlite = new Sqlite(":memory:", { strict: true });
  make(sqlite);
  const objects = sqlite
    .query<{ type: string; name: string; sql: string | null }, []>(
      "select type, name, sql from sqlite_schema where name not like 'sqlite_%' order by rowid",
    )
    .all();
  const tables = objects.filter(({ type }) => type === "table").map(({ name }) => name);
  return {
    objects,
    rows: tables.map((name) => [name, sqlite.query(`select * from "${name}"`).all()]),
    columns: tables.map((name) => [name, sqlite.query(`pragma table_xinfo("${name}")`).all()]),
    marks: ["user_version", "application_id"].map((name) => sqlite.query(`pragma ${name}`).get()),
  };
}

test("an empty database becomes what all migrations make of it, one by one", () => {
  expect(contentOf(create)).toEqual(contentOf((sqlite) => migrate(sqlite, 0)));
});

test("a schema is known whether it was made at once or one by one, and no longer after a change", () => {
  for (const make of [create, (sqlite: Sqlite) => migrate(sqlite, 0)]) {
    using sqlite = new Sqlite(":memory:", { strict: true });
    make(sqlite);
    expect(isAsCreated(sqlite)).toBe(true);
    sqlite.run("create table more (id text) strict");
    expect(isAsCreated(sqlite)).toBe(false);
    sqlite.run("drop table more; alter table builds drop column output");
    expect(isAsCreated(sqlite)).toBe(false);
  }
});

test("all statements can be prepared in a known schema", () => {
  using sqlite = new Sqlite(":memory:", { strict: true });
  create(sqlite);
  // Without its knowledge each is prepared at once.
  openTables(new Database(sqlite, {}), stillClock());
  sqlite.run("alter table builds drop column output");
  expect(() => openTables(new Database(sqlite, {}), stillClock())).toThrow("no column named output");
});
