import { Database as Sqlite, type Statement } from "bun:sqlite";
import { create } from "../../sqlite/migrations/migrations.ts";
import { idOf, MIRRORED, type MirroredTable } from "./mirrored-tables.ts";

/** A row of the configuration: the JSON of its columns, or null if it was deleted. */
export interface Row {
  readonly kind: string;
  readonly id: string;
  readonly record: string | null;
}

/** The part of a change that is tried, and how that ended. */
export interface Trial {
  readonly run: () => void;
  readonly failed: (error: unknown) => void;
}

/** Texts that differ if rows do, by kind and id. */
export type RowStates = Readonly<Record<"functions" | "secrets" | "schedules", ReadonlyMap<string, string>>>;

type Columns = Record<string, string | number | null>;

interface TableStatements {
  /** The expression of a row as JSON. */
  readonly row: string;
  readonly read: Statement<{ record: string }, [string]>;
  readonly remove: Statement<unknown, [string]>;
  /** Inserts a row. Columns that it lacks, as an older server did not know them, have their defaults. */
  readonly insert: (record: string) => void;
}

/** The name under which the place of a row is in its JSON. */
const PLACE = "rowid";

/**
 * The configuration in memory, as a database of SQLite with the tables and the rules of the one in a file. A change is
 * tried here; the rows that it would leave are written to the shared database, and once they are there, applied here, as those of
 * other servers are. So what can be read here is always what is there.
 */
export class Mirror implements Disposable {
  readonly sqlite: Sqlite;
  readonly #tables: ReadonlyMap<string, TableStatements>;
  readonly #changed: Statement<{ kind: string; id: string }, []>;

  constructor() {
    this.sqlite = new Sqlite(":memory:", { strict: true });
    create(this.sqlite);
    this.sqlite.run("create temp table changed (kind text not null, id text not null, primary key (kind, id))");
    for (const table of MIRRORED) this.sqlite.run(noting(table));
    this.sqlite.run("create index versions_by_row on versions (function_id || ' ' || version)");
    this.sqlite.run("pragma foreign_keys = on");
    this.#tables = new Map(MIRRORED.map((table) => [table.name, statementsOf(this.sqlite, table)]));
    this.#changed = this.sqlite.query("select kind, id from changed");
  }

  /**
   * Tries the parts of a change, each of which sees those before it and may fail alone, and returns the rows that they would
   * leave. Nothing is changed after that.
   */
  try(trials: readonly Trial[]): Row[] {
    this.sqlite.run("begin immediate");
    try {
      for (const { run, failed } of trials) {
        this.sqlite.run("savepoint trial");
        try {
          run();
        } catch (error) {
          this.sqlite.run("rollback to trial");
          failed(error);
        }
        this.sqlite.run("release trial");
      }
      return this.#changed.all().map(({ kind, id }) => ({ kind, id, record: this.#read(kind, id) }));
    } finally {
      this.sqlite.run("rollback");
    }
  }

  /** Makes rows what they are in the shared database. Rows of kinds that this version does not know are left out. */
  apply(rows: readonly Row[]): void {
    const known = rows.flatMap((row) => {
      const table = this.#tables.get(row.kind);
      return table === undefined ? [] : [{ table, row }];
    });
    // Cascades are among the rows; and rows come in no order.
    this.sqlite.run("pragma foreign_keys = off");
    try {
      this.sqlite.run("begin immediate");
      for (const { table, row } of known) table.remove.run(row.id);
      for (const { table, row } of known) {
        if (row.record === null) continue;
        table.insert(row.record);
      }
      this.sqlite.run("delete from changed");
      this.sqlite.run("commit");
    } catch (error) {
      if (this.sqlite.inTransaction) this.sqlite.run("rollback");
      throw error;
    } finally {
      this.sqlite.run("pragma foreign_keys = on");
    }
  }

  /** Returns what distinguishes each row of those kinds on which something depends, by kind and id. */
  states(): RowStates {
    const statesOf = (sql: string) =>
      new Map(
        this.sqlite
          .query<{ id: string; state: string }, []>(sql)
          .all()
          .map(({ id, state }) => [id, state]),
      );
    return {
      // Each change has its time; the whole row would take long for thousands of them.
      functions: statesOf("select id, updated_at as state from functions"),
      secrets: statesOf("select name as id, value || updated_at as state from secrets"),
      schedules: statesOf(`select id, ${this.#tables.get("schedules")?.row} as state from schedules`),
    };
  }

  /** Forgets all rows. */
  clear(): void {
    this.sqlite.run("pragma foreign_keys = off");
    for (const { name } of MIRRORED) this.sqlite.run(`delete from ${name}`);
    this.sqlite.run("delete from changed");
    this.sqlite.run("pragma foreign_keys = on");
  }

  [Symbol.dispose](): void {
    this.sqlite.close();
  }

  #read(kind: string, id: string): string | null {
    return this.#tables.get(kind)?.read.get(id)?.record ?? null;
  }
}

/** Returns the triggers that note which rows of a table have changed. */
function noting(table: MirroredTable): string {
  const { name } = table;
  // Not "insert or ignore": a statement with a conflict clause of its own (an upsert) decides for its triggers, too.
  const note = (row: string) =>
    `insert into changed (kind, id) select '${name}', ${idOf(table, row)}
     where not exists (select 1 from changed where kind = '${name}' and id = ${idOf(table, row)});`;
  return `
    create temp trigger ${name}_inserted after insert on main.${name} begin ${note("new")} end;
    create temp trigger ${name}_updated after update on main.${name} begin ${note("old")} ${note("new")} end;
    create temp trigger ${name}_deleted after delete on main.${name} begin ${note("old")} end;`;
}

function statementsOf(sqlite: Sqlite, table: MirroredTable): TableStatements {
  const { name } = table;
  const { fields, insert } = rowsOf(sqlite, table);
  const here = `${idOf(table, name)} = ?`;
  const row = `json_object(${fields})`;
  return {
    row,
    read: sqlite.prepare(`select ${row} as record from ${name} where ${here}`),
    remove: sqlite.prepare(`delete from ${name} where ${here}`),
    insert,
  };
}

/** Returns the arguments of `json_object` for a row of a table, and what inserts such a row. */
export function rowsOf(
  sqlite: Sqlite,
  { name, hasPlace }: Pick<MirroredTable, "name" | "hasPlace">,
): Pick<TableStatements, "insert"> & { readonly fields: string } {
  const columns = sqlite.query<{ name: string }, []>(`select name from pragma_table_info('${name}')`).all();
  const known = new Set([...(hasPlace ? [PLACE] : []), ...columns.map((column) => column.name)]);
  const fields = [...known].map((column) => `'${column}', ${column}`).join();
  const inserts = new Map<string, Statement<unknown, [Columns]>>();
  const insert = (record: string) => {
    const given = Object.entries(JSON.parse(record) as Columns); // `read` made it
    // A newer server may have written columns that are not known here.
    const row = Object.fromEntries(given.filter(([column]) => known.has(column)));
    const names = Object.keys(row);
    let statement = inserts.get(names.join());
    if (statement === undefined) {
      const values = names.map((column) => `$${column}`).join();
      statement = sqlite.prepare<unknown, [Columns]>(`insert into ${name} (${names.join()}) values (${values})`);
      inserts.set(names.join(), statement);
    }
    statement.run(row);
  };
  return { fields, insert };
}
