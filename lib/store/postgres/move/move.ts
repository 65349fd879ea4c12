import type { Database as Sqlite } from "bun:sqlite";
import type { Clock } from "../../../clock.ts";
import { timestamp } from "../../../domain/types.ts";
import type { Logger } from "../../../log.ts";
import { StoreError } from "../../errors.ts";
import { markMoved, type Moved, movedMark, requireUnmoved } from "../../sqlite/database/moved.ts";
import { Client, type Transaction } from "../client/client.ts";
import { openSource } from "./source.ts";
import { type Columns, MOVED_TABLES, type MovedTable } from "./tables.ts";
import { begin, end, filledBy, openTarget, shownUrl } from "./target.ts";

/** The rows of a statement, and about how long its JSON gets at most, but for a single row. */
const BATCH = 1_000;
const BATCH_LENGTH = 4 * 1024 * 1024;

/** The rows of a table that have moved so far, of all that it has. */
export interface Progress {
  readonly table: string;
  readonly moved: number;
  readonly of: number;
}

export interface MoveOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** The server that has what belongs to the engine of the old one: its images, its builds, its unfinished attempts. */
  readonly server_id: string;
  /** True to undo everything at the end. */
  readonly dry_run: boolean;
  /** Called after each batch. */
  readonly progress: (progress: Progress) => void;
  /** Called with the fingerprint of the key that the secrets are sealed with; throws if that is not the one to be used. */
  readonly checkKey: (fingerprint: string | null) => void;
}

/** The rows that have moved, by table; null if an earlier move has moved them, and only its mark was missing. */
export type MovedRows = Readonly<Record<string, number>> | null;

/** Ends the transaction of a dry run. */
class Rehearsed extends Error {}

/**
 * Moves everything in the SQLite database at `path`, which no server uses, to the empty PostgreSQL database at `url`, in one
 * transaction: if it is cut, nothing has moved. Then the old one is marked, so that no server starts on it. Throws a `StoreError`.
 *
 * The mark is written in two steps, just before the commit and after it: if it is cut between them, the id of the move, which is in the other
 * database if it was committed, says which of the two holds.
 */
export async function moveDatabase(path: string, url: string, options: MoveOptions): Promise<MovedRows> {
  using source = openSource(path);
  const { sqlite } = source;
  const mark = movedMark(sqlite);
  const to = shownUrl(url);
  if (mark?.state === "done" || (mark !== undefined && mark.to !== to)) requireUnmoved(sqlite, path);
  options.checkKey(settingIn(sqlite, "secret_key_fingerprint"));
  await using target = await openTarget(url, options.log);
  const at = timestamp(options.clock.now());
  const moved: Moved = { id: mark?.id ?? options.clock.uuid(), to, state: "done", at };
  let rows: MovedRows = null;
  if (mark === undefined || (await filledBy(target)) !== mark.id) {
    const ending = () => markMoved(sqlite, { ...moved, state: "ending" });
    rows = await moveAll({ sqlite, url, id: moved.id, ending }, options);
  }
  if (!options.dry_run) markMoved(sqlite, moved);
  return rows;
}

/** Lets servers start on the database at `path` again after it has moved; returns where to, or null if it has not. Throws a `StoreError`. */
export function undoMove(path: string): string | null {
  using source = openSource(path);
  const mark = movedMark(source.sqlite);
  if (mark !== undefined) markMoved(source.sqlite, undefined);
  return mark?.to ?? null;
}

interface Move {
  readonly sqlite: Sqlite;
  readonly url: string;
  readonly id: string;
  /** Called when everything is written, before the commit. */
  readonly ending: () => void;
}

async function moveAll({ sqlite, url, id, ending }: Move, options: MoveOptions): Promise<MovedRows> {
  const rows: Record<string, number> = {};
  await using client = new Client(url, { connections: 1 });
  try {
    await client.longTransaction(async (transaction) => {
      await begin(transaction);
      for (const table of MOVED_TABLES) rows[table.name] = await moveTable(sqlite, transaction, table, options);
      await end(transaction, id);
      if (options.dry_run) throw new Rehearsed();
      ending();
    });
  } catch (error) {
    if (!(error instanceof Rehearsed)) throw error;
  }
  return rows;
}

async function moveTable(
  sqlite: Sqlite,
  transaction: Transaction,
  { name, from, rowOf, into }: MovedTable,
  { server_id: holder, progress }: MoveOptions,
): Promise<number> {
  const of = sqlite.query<{ count: number }, []>(`select count(*) as count from (${from})`).get()?.count ?? 0;
  let moved = 0;
  let rows: string[] = [];
  let length = 0;
  const write = async () => {
    await transaction.run(into, { rows: `[${rows.join()}]`, holder });
    moved += rows.length;
    rows = [];
    length = 0;
    progress({ table: name, moved, of });
  };
  for (const columns of sqlite.query<Columns, []>(from).iterate()) {
    const row = JSON.stringify(rowOf(columns), hexOfBytes);
    rows.push(row);
    length += row.length;
    if (rows.length === BATCH || length > BATCH_LENGTH) await write();
  }
  if (rows.length > 0) await write();
  if (moved !== of) throw new StoreError(`Of ${of} rows of ${name} only ${moved} could be read: nothing has moved`);
  return moved;
}

function hexOfBytes(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}

function settingIn(sqlite: Sqlite, key: string): string | null {
  const sql = "select value from settings where key = ?";
  return sqlite.query<{ value: string }, [string]>(sql).get(key)?.value ?? null;
}
