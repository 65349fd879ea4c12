import type { Clock } from "../clock.ts";
import { AppError } from "../domain/errors.ts";
import type { Function } from "../domain/functions.ts";
import { ROUTE_OPTIONS } from "../domain/route-options.ts";
import type { Route } from "../domain/routes.ts";
import { timestamp } from "../domain/types.ts";
import type { Database, Statement } from "./database.ts";
import { violates } from "./errors.ts";
import type { FunctionStore } from "./functions.ts";
import { fromJson, fromNullableJson, toNullableJson } from "./json.ts";

/** Fields that are JSON in their column; null stays null. */
type Structure = "methods" | "cors" | "rate_limit" | "split";

/** A route as its row. */
type RouteRow = Omit<Route, "function" | Structure> & { readonly function_id: string } & {
  readonly [field in Structure]: null extends Route[field] ? string | null : string;
};

const COLUMNS = ["id", "path", "function_id", ...Object.keys(ROUTE_OPTIONS)];

/** Routes, the only place of their SQL. Changes are on the disk when a method returns. */
export class RouteStore {
  readonly #database: Database;
  readonly #functions: FunctionStore;
  readonly #clock: Clock;
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #count: Statement<{ count: number }>;
  readonly #get: Statement<RouteRow>;
  readonly #getByPath: Statement<RouteRow>;
  readonly #list: Statement<RouteRow>;

  constructor(database: Database, functions: FunctionStore, clock: Clock) {
    this.#database = database;
    this.#functions = functions;
    this.#clock = clock;
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
  }

  get(id: string): Route | undefined {
    return this.#routeOf(this.#get.get({ id }));
  }

  /** The route with exactly this path. Asked for every call: two statements, about 10 us. */
  getByPath(path: string): Route | undefined {
    return this.#routeOf(this.#getByPath.get({ path }));
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
  insert(route: Route): void {
    const created_at = timestamp(this.#clock.now());
    this.#write(route, (row) => this.#insert.run({ ...row, created_at }));
  }

  /** Gives the route with this id its path and function; throws like `insert`. Returns whether there was one. */
  update(route: Route): boolean {
    return this.#write(route, (row) => this.#update.run({ ...row })) > 0;
  }

  /** Returns whether there was one. */
  delete(id: string): boolean {
    return this.#database.transaction("durable", () => this.#delete.run({ id })) > 0;
  }

  #write(route: Route, run: (row: RouteRow) => number): number {
    const {
      path,
      function: { id: function_id },
    } = route;
    return this.#database.transaction("durable", () => {
      try {
        return run(routeRow(route));
      } catch (error) {
        if (violates(error, "unique")) {
          const message = `A route with the path ${JSON.stringify(path)} exists already: choose another path, or PATCH that one`;
          throw new AppError("conflict", message, { cause: error });
        }
        if (violates(error, "foreign key")) {
          throw new AppError("not_found", `No function "${function_id}": it was deleted meanwhile`, { cause: error });
        }
        throw error;
      }
    });
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
  return {
    ...{ id, path, function: fn, auth, max_request_bytes, version },
    methods: fromJson(row.methods),
    cors: fromNullableJson(row.cors),
    rate_limit: fromNullableJson(row.rate_limit),
    split: fromNullableJson(row.split),
  };
}
