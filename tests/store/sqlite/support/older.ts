import { Database as Sqlite } from "bun:sqlite";
import { renameSync } from "node:fs";
import { markVersion, MIGRATIONS } from "../../../../lib/store/sqlite/migrations/migrations.ts";
import { inTransaction } from "../../../../lib/store/sqlite/database/group-commit.ts";

/** Turns a database into one of an older schema, with everything that this one knew. Nobody may have it open. */
export function makeOlder(path: string, version: number): void {
  const file = `${path}-older`;
  const older = new Sqlite(file, { create: true, strict: true });
  inTransaction(older, () => {
    for (const sql of MIGRATIONS.slice(0, version)) older.run(sql);
    markVersion(older, version);
  });
  older.run("pragma foreign_keys = off");
  older.run("attach database $path as newer", [path]);
  const tables = older.query<{ name: string }, []>("select name from main.sqlite_schema where type = 'table'").all();
  const columns = (schema: string, table: string) =>
    older.query<{ name: string }, [string, string]>("select name from pragma_table_info(?, ?)").all(table, schema);
  for (const { name } of tables) {
    const known = new Set(columns("newer", name).map((column) => column.name));
    const common = columns("main", name).flatMap((column) => (known.has(column.name) ? [column.name] : []));
    if (common.length === 0) continue;
    older.run(`insert or replace into main.${name} (${common.join()}) select ${common.join()} from newer.${name}`);
  }
  older.close();
  renameSync(file, path);
}
