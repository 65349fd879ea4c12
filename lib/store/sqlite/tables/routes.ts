import type { Clock } from "../../../clock.ts";
import { AppError } from "../../../domain/errors.ts";
import type { Function } from "../../../domain/functions/functions.ts";
import { ROUTE_OPTIONS } from "../../../domain/routes/options.ts";
import { RouteTable } from "../../../domain/routes/table.ts";
import type { Route } from "../../../domain/routes/routes.ts";
import { timestamp } from "../../../domain/types.ts";
import type { Cache } from "../database/cache.ts";
import type { Database, Statement } from "../database/database.ts";
import { violates } from "../errors.ts";
import type { Changed, FunctionStore } from "./functions.ts";
import { deepFreeze, fromJson, fromNullableJson, toNullableJson } from "../database/json.ts";

/** Fields that are JSON in their column; null stays null. */
type Structure = "methods" | "cors" | "rate_limit" | "split";

/** A route as its row. */
type RouteRow = Omit<Route, "function" | Structure> & { readonly function_id: string } & {
  readonly [field in Structure]: null extends Route[field] ? string | null : string;
};

const COLUMNS = ["id", "path", "function_id", ...Object.keys(ROUTE_OPTIONS)];

/** Routes, the only place of their SQL. Changes are on the disk when the promise of a method is fulfilled. */
export class RouteStore {
  readonly #database: Database;
  readonly #functions: FunctionStore;
  readonly #clock: Clock;
  readonly #byId: Cache<Route>;
  readonly #byPath: Cache<Route>;
  /** All paths; read when the first one is asked for. Those of a function that was deleted with its routes go when they are met. */
  #table: RouteTable | undefined;
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #count: Statement<{ count: number }>;
  readonly #get: Statement<RouteRow>;
  readonly #getByPath: Statement<RouteRow>;
  readonly #list: Statement<RouteRow>;
  readonly #paths: Statement<{ path: string }>;

  constructor(database: Database, functions: FunctionStore, clock: Clock) {
    this.#database = database;
    this.#functions = functions;
    this.#clock = clock;
    this.#byId = database.cache();
    this.#byPath = database.cache();
    functions.whenChanged(() => this.#forget());
    this.#insert = database.prepare(
      `insert into routes (${COLUMNS.join()}, created_at) values (${COLUMNS.map((column) => `$${column}`).join()}, $created_at)`,
    );
    this.#update = database.prepare(
      `update routes set ${COLUMNS.map((column) => `${column} = $${column}`).join()} where id = $id`,
    );
    this.#delete = database.prepare("delete from routes where id = $id");
    this.#count = database.prepare("select count(*) as count from routes");
    this.#get = database.prepare(`select ${COLUMNS.join()} from routes where id = $id`);
    this.#getByPath = database.prepare(`select ${COLUMNS.join()} from routes where path = $path`);
    this.#list = database.prepare(`select ${COLUMNS.join()} from routes order by created_at, rowid`);
    this.#paths = database.prepare("select path from routes");
  }

  get(id: string): Route | undefined {
    return this.#byId.get(id, () => this.#routeOf(this.#get.get({ id })));
  }

  /** The route that a path leads to, and what a prefix leaves of it. Asked for every call. */
  match(path: string): { readonly route: Route; readonly path_rest: string | null } | undefined {
    this.#table ??= new RouteTable(this.#paths.all().map((row) => row.path));
    for (;;) {
      const found = this.#table.find(path);
      if (found === undefined) return undefined;
      const route = this.getByPath(found.path);
      if (route !== undefined) return { route, path_rest: found.path_rest };
      this.#table.delete(found.path);
    }
  }

  /** The route that was given exactly this path. Like all records, shared and frozen. */
  getByPath(path: string): Route | undefined {
    return this.#byPath.get(path, () => this.#routeOf(this.#getByPath.get({ path })));
  }

  /** All routes, oldest first. Routes of one function share its record. */
  list(): Route[] {
    const functions = new Map<string, Function>(this.#functions.list().map((record) => [record.id, record]));
    return this.#list.all().flatMap((row) => {
      const found = functions.get(row.function_id);
      return found === undefined ? [] : [routeOf(row, found)];
    });
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  /** Throws `conflict` where the path is taken, `not_found` where the function is gone. */
  async insert(route: Route): Promise<void> {
    await this.#durably(
      () => this.insertNow(route),
      () => this.#table?.add(route.path),
    );
  }

  /** Part of a transaction (see `Store.together`): like `insert`. */
  insertNow(route: Route): void {
    const created_at = timestamp(this.#clock.now());
    this.#write(route, (row) => this.#insert.run({ ...row, created_at }));
  }

  /** Part of a transaction: writes what the route with this id is now. */
  replaceNow(route: Route): void {
    this.#write(route, (row) => this.#update.run({ ...row }));
  }

  /** Part of a transaction. */
  deleteNow(id: string): void {
    this.#delete.run({ id });
  }

  /** Several have changed together. */
  refresh(): void {
    this.#table = undefined;
    this.#forget();
  }

  /**
   * Gives the route with this id the path and function that `change` makes of it as it is then; throws like `insert`.
   * Undefined where there is none.
   */
  update(id: string, change: (current: Route) => Route): Promise<Changed<Route> | undefined> {
    const work = () => {
      const before = this.get(id);
      if (before === undefined) return undefined;
      const after = change(before);
      this.replaceNow(after);
      return { before, after };
    };
    return this.#durably(work, (changed) => {
      if (changed === undefined || changed.before.path === changed.after.path) return;
      this.#table?.delete(changed.before.path);
      this.#table?.add(changed.after.path);
    });
  }

  /** Tells what it was; undefined where there was none. */
  delete(id: string): Promise<Route | undefined> {
    const work = () => {
      const before = this.get(id);
      this.deleteNow(id);
      return before;
    };
    return this.#durably(work, (deleted) => deleted && this.#table?.delete(deleted.path));
  }

  #durably<T>(work: () => T, committed: (result: T) => void): Promise<T> {
    return this.#database.durably(work, (result) => {
      this.#forget();
      committed(result);
    });
  }

  #forget(): void {
    this.#byId.clear();
    this.#byPath.clear();
  }

  #write(route: Route, run: (row: RouteRow) => unknown): void {
    const { path } = route;
    try {
      run(routeRow(route));
    } catch (error) {
      if (violates(error, "unique")) {
        const message = `A route with the path ${JSON.stringify(path)} exists already: choose another path, or PATCH that one`;
        throw new AppError("conflict", message, { cause: error });
      }
      if (violates(error, "foreign key")) {
        throw new AppError(
          "not_found",
          `No function "${route.function.id}": it was deleted meanwhile, GET /v1/functions lists the others`,
          {
            cause: error,
          },
        );
      }
      throw error;
    }
  }

  #routeOf(row: RouteRow | undefined): Route | undefined {
    const found = row && this.#functions.get(row.function_id);
    return row && found && routeOf(row, found);
  }
}

function routeRow({ function: { id }, ...route }: Route): RouteRow {
  return {
    ...route,
    function_id: id,
    methods: JSON.stringify(route.methods),
    cors: toNullableJson(route.cors),
    rate_limit: toNullableJson(route.rate_limit),
    split: toNullableJson(route.split),
  };
}

function routeOf(row: RouteRow, fn: Function): Route {
  const { id, path, auth, max_request_bytes, version } = row;
  return deepFreeze({
    ...{ id, path, function: fn, auth, max_request_bytes, version },
    methods: fromJson(row.methods),
    cors: fromNullableJson(row.cors),
    rate_limit: fromNullableJson(row.rate_limit),
    split: fromNullableJson(row.split),
  });
}
