import { Database as Sqlite } from "bun:sqlite";
import { expect, test } from "bun:test";
import { create, migrate } from "../../../../lib/store/sqlite/migrations/migrations.ts";

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
