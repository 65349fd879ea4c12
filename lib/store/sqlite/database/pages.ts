import { Slices } from "../../../domain/concurrency.ts";
import type { Page, PageQuery, Position } from "../../../domain/functions/pages.ts";

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

/** The statements that read a whole table, oldest first. */
interface AllOf {
  /** The places of all rows. */
  readonly places: string;
  /** The rows at `$places`, which is a list in JSON. */
  readonly rows: string;
}

/** Returns the statements for all rows of a table. Reading page after page would look through the whole table for each. */
export function allOf(table: string, columns: string): AllOf {
  return {
    places: `select rowid as place from ${table} order by created_at, rowid`,
    rows: `select ${columns} from ${table} where rowid in (select value from json_each($places)) order by created_at, rowid`,
  };
}

/** Reads all rows in slices: each as it is when its turn comes, and none that was added meanwhile. */
export async function readAll<R, T>(
  places: readonly Pick<Position, "place">[],
  read: (places: string) => readonly R[],
  recordOf: (row: R) => T,
): Promise<T[]> {
  const slices = new Slices();
  const records: T[] = [];
  for (let from = 0; from < places.length; from += ROWS) {
    if (slices.over) await slices.next();
    const next = places.slice(from, from + ROWS).map(({ place }) => place);
    for (const row of read(JSON.stringify(next))) records.push(recordOf(row));
  }
  return records;
}

function positionOf({ created_at, place }: Position): Position {
  return { created_at, place };
}
