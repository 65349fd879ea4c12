import { Slices } from "../../../domain/concurrency.ts";
import { type Page, type PageQuery, type Position, START } from "../../../domain/functions/pages.ts";

/** Returns the statement of a page of a table, oldest first: `$count` rows after `$created_at` and `$place`. */
export function pageOf(table: string, columns: string): string {
  // The inner query finds the rows without their columns, which may be long.
  return `select ${columns}, created_at, rowid as place from ${table} where rowid in (
      select rowid from ${table} where (created_at, rowid) > ($created_at, $place)
      order by created_at, rowid limit $count)
    order by created_at, rowid`;
}

/** The same of the rows of which one of these columns has the text `$search`, in lower case. */
export function searchOf(table: string, columns: string, searched: readonly string[]): string {
  const found = searched.map((column) => `instr(lower(${column}), $search) > 0`).join(" or ");
  return `select ${columns}, created_at, rowid as place from ${table} where rowid in (
      select rowid from ${table} where (created_at, rowid) > ($created_at, $place) and (${found})
      order by created_at, rowid limit $count)
    order by created_at, rowid`;
}

/** Rows that are read at once: a millisecond of the event loop, unless their fields are long. */
const ROWS = 25;

/** Reads `count` rows after a position. */
type ReadRows<R> = (place: Position & { readonly count: number }) => readonly R[];

/** Reads a page in slices: each row as it is when its turn comes. */
export async function readPage<R extends Position, T>(
  read: ReadRows<R>,
  { after, limit }: PageQuery,
  recordOf: (row: Omit<R, "place">) => T,
): Promise<Page<T>> {
  const slices = new Slices();
  const records: T[] = [];
  let last = positionOf(after);
  for (;;) {
    const wanted = Math.min(ROWS, limit - records.length);
    // One more than wanted, to see whether others follow.
    const rows = read({ ...last, count: wanted + 1 });
    for (const { place, ...row } of rows.slice(0, wanted)) {
      records.push(recordOf(row));
      last = { created_at: row.created_at, place };
    }
    if (rows.length <= wanted) return { records, last: null };
    if (records.length === limit) return { records, last };
    if (slices.over) await slices.next();
  }
}

/** Reads all rows in slices. */
export async function readAll<R extends Position, T>(
  read: ReadRows<R>,
  recordOf: (row: Omit<R, "place">) => T,
): Promise<T[]> {
  return (await readPage(read, { after: START, limit: Infinity }, recordOf)).records;
}

function positionOf({ created_at, place }: Position): Position {
  return { created_at, place };
}
