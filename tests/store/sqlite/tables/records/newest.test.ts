import { Database as Sqlite } from "bun:sqlite";
import { expect, test } from "bun:test";
import { timestamp } from "../../../../../lib/domain/types.ts";
import { Database } from "../../../../../lib/store/sqlite/database/database.ts";
import { create } from "../../../../../lib/store/sqlite/migrations/migrations.ts";
import { NewestRecords } from "../../../../../lib/store/sqlite/tables/records/newest.ts";
import { START } from "../../support/stores.ts";

const RECORDS = 12_001;

/** A database of records of which every two ended at the same time, and of some that have not ended. */
function filled(): Sqlite {
  const sqlite = new Sqlite(":memory:", { strict: true });
  create(sqlite);
  sqlite.run("create temp table numbers (n integer primary key)");
  const number = sqlite.query("insert into numbers (n) values (?)");
  sqlite.transaction(() => {
    for (let n = 0; n < RECORDS; n++) number.run(n);
  })();
  sqlite.run(
    `insert into invocations (id, function_id, status, request_bytes, log_bytes, log_dropped_bytes, created_at, finished_at)
     select printf('i%06d', n), 'f1', 'succeeded', 0, 0, 0, '', strftime('%Y-%m-%dT%H:%M:%fZ', ? + (n / 2) / 1000.0, 'unixepoch')
     from numbers`,
    [START / 1000],
  );
  sqlite.run(
    `insert into invocations (id, function_id, status, request_bytes, log_bytes, log_dropped_bytes, created_at)
     select printf('running%06d', n), 'f1', 'running', 0, 0, 0, '' from numbers limit 10`,
  );
  return sqlite;
}

test("firstBeyond returns the newest record beyond those that are kept, however many steps it takes", async () => {
  using sqlite = filled();
  const newest = new NewestRecords(new Database(sqlite, {}));
  for (const keep of [0, 1, 4_999, 5_000, 5_001, 9_999, 10_000, RECORDS - 1]) {
    const n = RECORDS - 1 - keep;
    const expected = { finished_at: timestamp(START + Math.floor(n / 2)), id: `i${String(n).padStart(6, "0")}` };
    expect(await newest.firstBeyond(keep)).toEqual(expected);
  }
  // There are ten rows more, of calls that have not ended.
  for (const keep of [RECORDS, RECORDS + 9, RECORDS + 10, 1_000_000])
    expect(await newest.firstBeyond(keep)).toBeUndefined();
});

test("firstBeyond finds nothing in an empty table", async () => {
  using sqlite = new Sqlite(":memory:", { strict: true });
  create(sqlite);
  expect(await new NewestRecords(new Database(sqlite, {})).firstBeyond(0)).toBeUndefined();
});
