import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Tally } from "../../../../lib/domain/stats/tally.ts";
import type { Database } from "../../../../lib/store/sqlite/database/database.ts";
import { openDatabase } from "../../../../lib/store/sqlite/open.ts";
import { BucketTable, type KeptLimits } from "../../../../lib/store/sqlite/stats/buckets.ts";
import { decodeTally } from "../../../../lib/store/tally-encoding.ts";
import { listeningLog, someInvocation, stillClock } from "../support/stores.ts";

const MANY: KeptLimits = { buckets: 1000, rows: 1000, bytes: 1_000_000 };
const MINUTE = 60_000;

describe("BucketTable", () => {
  let database: Database;

  beforeEach(() => {
    database = openDatabase(":memory:", { log: listeningLog().log, clock: stillClock() });
  });
  afterEach(() => database[Symbol.dispose]());

  const table = (limits: Partial<KeptLimits> = {}) => new BucketTable(database, "minute", { ...MANY, ...limits });
  const ofOne = (...functions: readonly string[]) =>
    new Map(
      ["", ...functions].map((id) => {
        const tally = new Tally();
        tally.add(someInvocation("a"));
        return [id, tally] as const;
      }),
    );
  const fill = (into: BucketTable, from: number, to: number, ...functions: readonly string[]) => {
    for (let bucket = from; bucket <= to; bucket++) into.add(new Map([[bucket, ofOne(...functions)]]));
  };
  const bucketsOf = (of: BucketTable, id: string) => of.rows(id, 0, 1e9).map(({ bucket }) => bucket);
  const callsIn = (of: BucketTable, id: string, bucket: number) =>
    of.rows(id, bucket, bucket + 1).map(({ figures }) => decodeTally(figures).ends.succeeded);
  const sizes = () =>
    database
      .prepare<{ rows: number; bytes: number }>("select rows, bytes from stats_sizes where resolution = 'minute'")
      .get();
  const counted = () =>
    database
      .prepare<{ rows: number; bytes: number }>(
        "select count(*) as rows, coalesce(sum(length(figures) + 50), 0) as bytes from stats_minutes where function_id <> ''",
      )
      .get();

  test("adds to what is there", () => {
    const minutes = table();
    fill(minutes, 7, 7, "f1");
    fill(minutes, 7, 7, "f1", "f2");
    expect([callsIn(minutes, "", 7), callsIn(minutes, "f1", 7), callsIn(minutes, "f2", 7)]).toEqual([[2], [2], [1]]);
  });

  test("keeps the newest buckets, however far apart, and takes none that is older", () => {
    const minutes = table({ buckets: 3 });
    fill(minutes, 1, 3, "f1");
    // A clock that was ahead for a minute.
    fill(minutes, 900_000, 900_000, "f1");
    minutes.trim();
    expect(bucketsOf(minutes, "")).toEqual([2, 3, 900_000]);
    fill(minutes, 1, 1, "f1");
    expect(bucketsOf(minutes, "f1")).toEqual([2, 3, 900_000]);
    expect(sizes()).toEqual(counted());
  });

  test("keeps no more rows of single functions than it may, and all of the rows of all", () => {
    const minutes = table({ rows: 4 });
    fill(minutes, 1, 5, "f1", "f2");
    expect(minutes.isOver).toBe(true);
    minutes.trim();
    expect(minutes.isOver).toBe(false);
    expect(bucketsOf(minutes, "")).toEqual([1, 2, 3, 4, 5]);
    expect(sizes()).toEqual(counted());
  });

  test("keeps no more bytes than it may, and takes none that would be removed at once", () => {
    const minutes = table({ bytes: 1000 });
    fill(minutes, 10, 30, "f1");
    expect(minutes.isOver).toBe(true);
    const before = sizes();
    fill(minutes, 1, 5, "f1");
    expect(sizes()).toEqual(before);
    expect(bucketsOf(minutes, "")).toContain(1);
    minutes.trim();
    expect(sizes()?.bytes).toBeLessThanOrEqual(1000);
    expect(sizes()).toEqual(counted());
  });

  test("takes back what is ahead of the clock, even if that is all that it keeps", () => {
    const minutes = table({ buckets: 3 });
    fill(minutes, 5, 5, "f1");
    fill(minutes, 900_000, 900_003, "f1", "f2");
    minutes.trim();
    const now = 7 * MINUTE + 30_000;
    expect(minutes.takeBack(now, now + MINUTE)).toBeGreaterThan(0);
    expect(minutes.takeBack(now, now + MINUTE)).toBe(0);
    expect(bucketsOf(minutes, "").at(-1)).toBe(7);
    expect([callsIn(minutes, "", 7), callsIn(minutes, "f2", 7)]).toEqual([[3], [3]]);
    expect(sizes()).toEqual(counted());
  });

  test("leaves what a clock that is corrected by seconds has written", () => {
    const minutes = table();
    fill(minutes, 8, 8, "f1");
    expect(minutes.takeBack(7 * MINUTE + 30_000, 8 * MINUTE + 30_000)).toBe(0);
  });
});
