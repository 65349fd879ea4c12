import { AppError } from "../errors.ts";
import { PAGE } from "../limits.ts";
import { quoted } from "../quoted.ts";

/** The query of a list as it was sent. */
export interface RawPageQuery {
  readonly cursor?: string;
  readonly limit?: string;
  readonly search?: string;
}

/** The position of a record in a list, oldest first: the time it was made, and its place among those of the same time. */
export interface Position {
  readonly created_at: string;
  readonly place: number;
}

/** Selects a page of a list: the records after a position. */
export interface PageQuery {
  readonly after: Position;
  readonly limit: number;
  /** Only records that have this text, in whatever case. Only functions are searched. */
  readonly search?: string;
}

/** A page of records, and the position of its last one if others follow. */
export interface Page<T> {
  readonly records: T[];
  readonly last: Position | null;
}

/** Comes before every record. */
export const START: Position = { created_at: "", place: 0 };

/** Reads a query; undefined if it asks for the whole list. Throws `invalid_request`. */
export function parsePageQuery({ cursor, limit, search = "" }: RawPageQuery): PageQuery | undefined {
  if (cursor === undefined && limit === undefined && search === "") return undefined;
  return {
    after: cursor === undefined ? START : decodeCursor(cursor),
    limit: limit === undefined ? PAGE.default : parseLimit(limit),
    ...(search !== "" && { search }),
  };
}

/** Reads the `limit` of a list. Throws `invalid_request`. */
export function parseLimit(text: string): number {
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= PAGE.max) return limit;
  throw new AppError(
    "invalid_request",
    `Invalid "limit" ${quoted(text, 40)}: give a whole number from 1 to ${PAGE.max}`,
  );
}

/** Returns the cursor of the next page, which is opaque to clients; null after the last page. */
export function cursorOf<T>({ last }: Page<T>): string | null {
  return last === null ? null : encode([last.created_at, last.place]);
}

function decodeCursor(cursor: string): Position {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString());
    const parts: readonly unknown[] = Array.isArray(value) ? value : [];
    if (encode(parts) === cursor) {
      const [created_at, place, ...more] = parts;
      if (typeof created_at === "string" && Number.isSafeInteger(place) && more.length === 0) {
        return { created_at, place: Number(place) };
      }
    }
  } catch {
    // Not JSON either.
  }
  throw new AppError(
    "invalid_request",
    'Invalid "cursor": send "next_cursor" of the page before as it is, or leave it out',
  );
}

function encode(value: readonly unknown[]): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
