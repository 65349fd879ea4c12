import { Database as Sqlite } from "bun:sqlite";
import { migrate } from "../../sqlite/migrations/migrations.ts";
import type { Statements } from "../client/client.ts";
import { idOf, isOwn, MIRRORED } from "./mirrored-tables.ts";
import { type Row, rowsOf } from "./mirror.ts";

interface OwnedRow extends Row {
  /** The server that it belongs to; empty for all. */
  readonly owner: string;
}

interface State {
  readonly schema: number;
  readonly version: number;
}

/**
 * Part of a transaction: makes the rows that servers share what SQLite's migrations make of the same rows in a file, if an older
 * version has written them. So a migration with steps on data is written once, for SQLite.
 */
export async function migrateConfiguration(statements: Statements, migrations: readonly string[]): Promise<void> {
  const sql = "select schema, version from configuration_state where id = 1";
  const isBehind = (state: State | undefined) => state !== undefined && state.schema < migrations.length;
  // Most starts change nothing, and do not wait for servers that change the configuration.
  if (!isBehind(await statements.get<State>(sql))) return;
  const state = await statements.get<State>(`${sql} for update`);
  if (state === undefined || !isBehind(state)) return;
  // A new database has none.
  const rows = await statements.all<OwnedRow>(
    "select owner, kind, id, record from configuration where record is not null order by owner, kind, id",
  );
  const changed = rows.length === 0 ? [] : changedRows(rows, state.schema, migrations);
  const version = state.version + 1;
  await statements.run(
    `insert into configuration (owner, kind, id, version, record)
     select owner, kind, id, $version::bigint, record
     from json_to_recordset($rows::text::json) as row (owner text, kind text, id text, record text)
     on conflict (owner, kind, id) do update set version = excluded.version, record = excluded.record`,
    { version, rows: JSON.stringify(changed) },
  );
  await statements.run("update configuration_state set version = $version::bigint, schema = $schema::integer", {
    version: changed.length === 0 ? state.version : version,
    schema: migrations.length,
  });
}

/** Returns the rows that differ after the migrations, those that are gone with no record. */
function changedRows(rows: readonly OwnedRow[], from: number, migrations: readonly string[]): OwnedRow[] {
  const shared = rows.filter(({ owner }) => owner === "");
  // The rows of one server at a time: those of several may have the same ids.
  return [...new Set(["", ...rows.map(({ owner }) => owner)])].flatMap((owner) => {
    const before = rows.filter((row) => row.owner === owner);
    const given = owner === "" ? shared : [...shared, ...before];
    const after = migrated(given, from, migrations).filter(({ kind, id }) => isOwn(kind, id) === (owner !== ""));
    const known = new Map(before.map((row) => [keyOf(row), row.record]));
    const left = new Set(after.map(keyOf));
    const gone = before.filter((row) => !left.has(keyOf(row))).map((row) => ({ ...row, record: null }));
    const changed = after.filter((row) => known.get(keyOf(row)) !== row.record).map((row) => ({ ...row, owner }));
    return [...gone, ...changed];
  });
}

function keyOf({ kind, id }: Row): string {
  return `${kind} ${id}`;
}

/** Returns all rows that the migrations after `from` make of these. */
function migrated(rows: readonly Row[], from: number, migrations: readonly string[]): Row[] {
  using sqlite = new Sqlite(":memory:", { strict: true });
  migrate(sqlite, 0, migrations.slice(0, from));
  const tables = new Map(MIRRORED.map((table) => [table.name, table]));
  for (const [name, group] of Map.groupBy(rows, ({ kind }) => kind)) {
    // One of a table that is mirrored no more, too: a migration may move its rows.
    const { insert } = rowsOf(sqlite, tables.get(name) ?? { name, hasPlace: true });
    for (const { record } of group) if (record !== null) insert(record);
  }
  migrate(sqlite, from, migrations);
  return MIRRORED.flatMap((table) => {
    const { fields } = rowsOf(sqlite, table);
    const sql = `select ${idOf(table, table.name)} as id, json_object(${fields}) as record from ${table.name}`;
    const all = sqlite.query<{ id: string | number; record: string }, []>(sql).all();
    return all.map(({ id, record }) => ({ kind: table.name, id: String(id), record }));
  });
}
