import type { Database as Sqlite } from "bun:sqlite";
import { existsSync } from "node:fs";
import type { Clock } from "../../clock.ts";
import { environmentProblem, type Environment } from "../../domain/environment.ts";
import { FUNCTION_DEFAULTS, type Function } from "../../domain/functions/functions.ts";
import { IMAGE_REFERENCE_LENGTH } from "../../domain/limits.ts";
import { routePathProblem } from "../../domain/routes/routes.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import { copyInto } from "./backup.ts";
import { FUNCTION_COLUMNS, functionRow } from "./tables/functions.ts";
import { markVersion, MIGRATIONS } from "./migrations/migrations.ts";
import { inTransaction } from "./database/group-commit.ts";

/** A row of go-serverless, whose columns take anything, null ids included. */
interface SeedFunction {
  readonly id: string | null;
  readonly image: string | null;
  readonly environment: string;
}
interface SeedRoute {
  readonly id: string | null;
  readonly path: string | null;
  readonly function_id: string | null;
}

/** Returns whether go-serverless wrote this database. It does not number its schema, so this looks at the tables. */
export function isSeed(sqlite: Sqlite): boolean {
  const columns = (table: string) =>
    sqlite
      .query<{ name: string }, [string]>("select name from pragma_table_info(?) order by cid")
      .all(table)
      .map(({ name }) => name)
      .join();
  return columns("functions") === "id,image,environment" && ["id,path,function_id", ""].includes(columns("routes"));
}

/** The end of the name of the copy of a go-serverless database, before it was taken over. */
export const SEED_COPY = ".go-serverless";

/**
 * Takes over a database of go-serverless in one transaction, after writing a copy next to it. Rows that cannot be kept are
 * named in the log, and stay in the copy.
 */
export function migrateSeed(
  sqlite: Sqlite,
  path: string,
  { log, clock }: { readonly log: Logger; readonly clock: Clock },
): void {
  const copy = `${path}${SEED_COPY}`;
  if (existsSync(copy)) log.warn("there is a copy of a go-serverless database already: it is kept", { copy });
  else copyInto(sqlite, copy);
  const now = timestamp(clock.now());
  const dropped = (what: string, problem: string, row: object) =>
    log.warn(`${what} of go-serverless not taken over`, { problem, ...row, copy });
  const counts = inTransaction(sqlite, () => {
    const { functions, routes } = takeRows(sqlite);
    for (const sql of MIGRATIONS) sqlite.run(sql);
    markVersion(sqlite, MIGRATIONS.length);
    const kept = insertFunctions(sqlite, functions, now, dropped);
    return { functions: kept.size, routes: insertRoutes(sqlite, routes, kept, now, dropped) };
  });
  log.info("took over a database of go-serverless", { path, copy, ...counts });
}

type Dropped = (what: string, problem: string, row: object) => void;

/** Reads the old tables and removes them, so that ours can have their names. */
function takeRows(sqlite: Sqlite): { functions: SeedFunction[]; routes: SeedRoute[] } {
  const text = (column: string) => `cast(${column} as text) as ${column}`;
  const functions = sqlite
    .query<SeedFunction, []>(`select ${["id", "image", "environment"].map(text).join()} from functions order by rowid`)
    .all();
  sqlite.run("create table if not exists routes (id, path, function_id)");
  const routes = sqlite
    .query<SeedRoute, []>(`select ${["id", "path", "function_id"].map(text).join()} from routes order by rowid`)
    .all();
  sqlite.run("drop table routes; drop table functions");
  return { functions, routes };
}

function insertFunctions(sqlite: Sqlite, rows: readonly SeedFunction[], now: string, dropped: Dropped): Set<string> {
  const insert = sqlite.query(
    `insert into functions (${FUNCTION_COLUMNS.join()}) values (${FUNCTION_COLUMNS.map((column) => `$${column}`).join()})`,
  );
  const insertVersion = sqlite.query(
    "insert into versions (function_id, version, record, created_at) values ($id, 1, $record, $now)",
  );
  const kept = new Set<string>();
  for (const { id, image, environment } of rows) {
    const problem = functionProblem(id, image, kept);
    if (problem !== undefined || id === null || image === null) {
      dropped("a function", problem ?? "", { id, image });
      continue;
    }
    const record: Function = {
      ...FUNCTION_DEFAULTS,
      id,
      image,
      image_id: null,
      digest: null,
      environment: parseSeedEnvironment(environment, (key, why) => {
        dropped("a variable", why, { function_id: id, key: key.slice(0, 100) });
      }),
      created_at: now,
      updated_at: now,
    };
    insert.run(functionRow(record));
    insertVersion.run({ id, record: JSON.stringify(record), now });
    kept.add(id);
  }
  return kept;
}

function functionProblem(id: string | null, image: string | null, kept: ReadonlySet<string>): string | undefined {
  if (id === null) return "it has no id";
  if (kept.has(id)) return "another one has the same id";
  if (image === null || image === "") return "it has no image";
  if (image.length > IMAGE_REFERENCE_LENGTH) return `its image is longer than ${IMAGE_REFERENCE_LENGTH} characters`;
  return undefined;
}

function insertRoutes(
  sqlite: Sqlite,
  rows: readonly SeedRoute[],
  functions: ReadonlySet<string>,
  now: string,
  dropped: Dropped,
): number {
  const insert = sqlite.query(
    "insert into routes (id, path, function_id, created_at) values ($id, $path, $function_id, $now)",
  );
  const ids = new Set<string>();
  const paths = new Set<string>();
  // A path without its slash could never be called, so one that had it goes first.
  const callableFirst = rows.toSorted((a, b) => Number(b.path?.startsWith("/")) - Number(a.path?.startsWith("/")));
  for (const row of callableFirst) {
    const { id, function_id } = row;
    const path = row.path === null || row.path.startsWith("/") ? row.path : `/${row.path}`;
    const problem = routeProblem({ id, path, function_id }, { functions, ids, paths });
    if (problem !== undefined || id === null || path === null) {
      dropped("a route", problem ?? "", row);
      continue;
    }
    insert.run({ id, path, function_id, now });
    ids.add(id);
    paths.add(path);
  }
  return ids.size;
}

function routeProblem(
  { id, path, function_id }: SeedRoute,
  known: {
    readonly functions: ReadonlySet<string>;
    readonly ids: ReadonlySet<string>;
    readonly paths: ReadonlySet<string>;
  },
): string | undefined {
  if (id === null) return "it has no id";
  if (known.ids.has(id)) return "another one has the same id";
  if (path === null) return "it has no path";
  if (function_id === null || !known.functions.has(function_id)) return "its function does not exist";
  const problem = routePathProblem(path);
  if (problem !== undefined) return `its path cannot be called: ${problem}`;
  if (known.paths.has(path)) return `another route has the path ${JSON.stringify(path)}`;
  return undefined;
}

/**
 * Reads go-serverless's environment: `key=value` and a newline for each variable. Nothing was ever escaped, so a line
 * without "=" can only be the rest of a value that had a newline.
 */
export function parseSeedEnvironment(text: string, dropped: (key: string, problem: string) => void): Environment {
  const values = new Map<string, string>();
  let last: string | undefined;
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n");
  for (const line of lines) {
    const equals = line.indexOf("=");
    if (equals !== -1) {
      last = line.slice(0, equals);
      values.set(last, line.slice(equals + 1));
    } else if (last !== undefined) {
      values.set(last, `${values.get(last)}\n${line}`);
    } else {
      dropped(line, 'the line has no "=", and no variable comes before it');
    }
  }
  for (const [key, value] of values) {
    const problem = environmentProblem(key, value);
    if (problem === undefined) continue;
    dropped(key, problem);
    values.delete(key);
  }
  return Object.fromEntries(values);
}
