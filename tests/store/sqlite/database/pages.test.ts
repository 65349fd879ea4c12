import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { allOf, readAll } from "../../../../lib/store/sqlite/database/pages.ts";

test("all rows of a table are read oldest first, and found by their places and not by looking through the table", async () => {
  using database = new Database(":memory:", { strict: true });
  database.run("create table things (id text primary key not null, created_at text not null)");
  const days = Array.from({ length: 60 }, (_, index) => `day-${String((index * 7) % 60).padStart(2, "0")}`);
  for (const day of [...days, "day-00"]) database.run("insert into things values (?, ?)", [crypto.randomUUID(), day]);
  const { places, rows } = allOf("things", "created_at");
  const found = await readAll(
    database.query<{ place: number }, []>(places).all(),
    (at) => database.query<{ created_at: string }, { places: string }>(rows).all({ places: at }),
    ({ created_at }) => created_at,
  );
  expect(found).toEqual(["day-00", ...days.toSorted()]);
  const plan = database
    .query<{ detail: string }, { places: string }>(`explain query plan ${rows}`)
    .all({ places: "[]" });
  const steps = plan.map(({ detail }) => detail);
  expect(steps).toContain("SEARCH things USING INTEGER PRIMARY KEY (rowid=?)");
  expect(steps).not.toContain("SCAN things");
});
