import type { Page, Position } from "../../../domain/functions/pages.ts";

/** Returns the statement of a page of a table, oldest first: `$count` rows after `$created_at` and `$place`. */
export function pageOf(table: string, columns: string): string {
  // The inner query finds the rows without their columns, which may be long.
  return `select ${columns}, created_at, rowid as place from ${table} where rowid in (
      select rowid from ${table} where (created_at, rowid) > ($created_at, $place)
      order by created_at, rowid limit $count)
    order by created_at, rowid`;
}

/** Makes a page of rows, of which one more than `limit` was asked for, to see whether there is a next page. */
export function cutPage<R extends Position, T>(
  rows: readonly R[],
  limit: number,
  recordOf: (row: Omit<R, "place">) => T,
): Page<T> {
  const shown = rows.slice(0, limit);
  const last = rows.length > limit ? shown.at(-1) : undefined;
  return {
    records: shown.map(({ place: _place, ...row }) => recordOf(row)),
    last: last === undefined ? null : { created_at: last.created_at, place: last.place },
  };
}
