import type { Database as Sqlite } from "bun:sqlite";
import { StoreError } from "../../errors.ts";

/** The row of the settings that says that everything has moved to another database. It stays behind. */
export const MOVED = "moved";

/** The mark that a move leaves in the database that it has read. */
export interface Moved {
  /** Distinguishes moves. The other database has it, too, if the move has come to its end. */
  readonly id: string;
  /** The other database, without user and password. */
  readonly to: string;
  /** `ending` just before the other database has everything for good, then `done`. */
  readonly state: "ending" | "done";
  /** The time of the end, RFC 3339. */
  readonly at: string;
}

/** Returns the mark of a database; undefined if nothing has moved. */
export function movedMark(sqlite: Sqlite): Moved | undefined {
  const row = sqlite.query<{ value: string }, [string]>("select value from settings where key = ?").get(MOVED);
  return row === null ? undefined : (JSON.parse(row.value) as Moved); // `markMoved` wrote it
}

/** Writes the mark, or removes it. It is on the disk when this returns. */
export function markMoved(sqlite: Sqlite, mark: Moved | undefined): void {
  sqlite.run("pragma synchronous = full");
  if (mark === undefined) sqlite.run("delete from settings where key = ?", [MOVED]);
  else
    sqlite.run(
      "insert into settings (key, value) values (?, ?) on conflict (key) do update set value = excluded.value",
      [MOVED, JSON.stringify(mark)],
    );
}

/** Throws a `StoreError` if everything in the database at `path` has moved, or may have. */
export function requireUnmoved(sqlite: Sqlite, path: string): void {
  const mark = movedMark(sqlite);
  if (mark === undefined) return;
  const shown = `The database ${JSON.stringify(path)}`;
  const back = 'or go back to the state that it had then with "slipway move --undo"';
  throw new StoreError(
    mark.state === "done"
      ? `${shown} has moved to ${mark.to} at ${mark.at}: give that one as DATABASE_URL, ${back}`
      : `${shown} was about to move to ${mark.to} when that was cut: run "slipway move" again as before, which ends it, ${back}`,
  );
}
