import type { Clock } from "../../../clock.ts";
import { AppError } from "../../../domain/errors.ts";
import type { Function } from "../../../domain/functions/functions.ts";
import { ROUTE_OPTIONS } from "../../../domain/routes/options.ts";
import { RouteTable as PathTable } from "../../../domain/routes/table.ts";
import type { Page, PageQuery, Position } from "../../../domain/functions/pages.ts";
import type { Route } from "../../../domain/routes/routes.ts";
import { timestamp } from "../../../domain/types.ts";
import type { Basis, RouteStore } from "../../configuration.ts";
import { StaleError } from "../../errors.ts";
import type { ConfigurationWriter } from "../configuration-writer.ts";
import type { Cache } from "../database/cache.ts";
import type { Database, Statement } from "../database/database.ts";
import { violates } from "../errors.ts";
import { allOf, pageOf, readAll, readPage } from "../database/pages.ts";
import type { FunctionTable } from "./functions.ts";
import type { VersionTable } from "./versions.ts";
import { deepFreeze, fromJson, fromNullableJson, toNullableJson } from "../database/json.ts";

/** Fields that are JSON in their column; null stays null. */
type Structure = "hosts" | "methods" | "cors" | "rate_limit" | "split";

/** A route as its row. */
type RouteRow = Omit<Route, "path" | "function" | "async" | Structure> & {
  readonly path: string;
  readonly function_id: string;
  readonly async: number;
} & {
  readonly [field in Structure]: null extends Route[field] ? string | null : string;
};

const COLUMNS = ["id", "path", "function_id", ...Object.keys(ROUTE_OPTIONS)];

/** Routes, the only place of their SQL. */
export class RouteTable implements RouteStore {
  readonly #writer: ConfigurationWriter;
  readonly #functions: FunctionTable;
  readonly #versions: VersionTable;
  readonly #clock: Clock;
  readonly #byId: Cache<Route>;
  readonly #byPath: Cache<Route>;
  /** All paths, read at the first request. Those of routes deleted with their function are removed when met. */
  #paths: PathTable | undefined;
  /** The ids of routes by their hosts, likewise. */
  #hosts: Map<string, string> | undefined;
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #delete: Statement<never>;
  readonly #count: Statement<{ count: number }>;
  readonly #get: Statement<RouteRow>;
  readonly #getByPath: Statement<RouteRow>;
  readonly #list: Statement<RouteRow>;
  readonly #places: Statement<{ place: number }>;
  readonly #rowsAt: Statement<RouteRow>;
  readonly #page: Statement<RouteRow & Position>;
  readonly #allPaths: Statement<{ path: string }>;
  readonly #allHosts: Statement<{ host: string; route_id: string }>;
  readonly #takeHost: Statement<never>;
  readonly #leaveHosts: Statement<never>;

  constructor(
    database: Database,
    writer: ConfigurationWriter,
    { functions, versions }: { readonly functions: FunctionTable; readonly versions: VersionTable },
    clock: Clock,
  ) {
    this.#writer = writer;
    this.#functions = functions;
    this.#versions = versions;
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
    const all = allOf("routes", COLUMNS.join());
    this.#places = database.prepare(all.places);
    this.#rowsAt = database.prepare(all.rows);
    this.#page = database.prepare(pageOf("routes", COLUMNS.join()));
    this.#allPaths = database.prepare("select path from routes where hosts = '[]'");
    this.#allHosts = database.prepare("select host, route_id from route_hosts");
    this.#takeHost = database.prepare("insert into route_hosts (host, route_id) values ($host, $id)");
    this.#leaveHosts = database.prepare("delete from route_hosts where route_id = $id");
  }

  get(id: string): Route | undefined {
    return this.#byId.get(id, () => this.#routeOf(this.#get.get({ id })));
  }

  match(path: string): { readonly route: Route; readonly path_rest: string | null } | undefined {
    this.#paths ??= new PathTable(this.#allPaths.all().map((row) => row.path));
    for (;;) {
      const found = this.#paths.find(path);
      if (found === undefined) return undefined;
      const route = this.getByPath(found.path);
      if (route !== undefined) return { route, path_rest: found.path_rest };
      this.#paths.delete(found.path);
    }
  }

  getByPath(path: string): Route | undefined {
    return this.#byPath.get(path, () => this.#routeOf(this.#getByPath.get({ path })));
  }

  get hasHosts(): boolean {
    return this.#hostTable().size > 0;
  }

  atHost(host: string): Route | undefined {
    const id = this.#hostTable().get(host);
    const route = id === undefined ? undefined : this.get(id);
    if (id !== undefined && route === undefined) this.#hosts?.delete(host);
    return route;
  }

  #hostTable(): Map<string, string> {
    return (this.#hosts ??= new Map(this.#allHosts.all().map(({ host, route_id }) => [host, route_id])));
  }

  /** Routes of one function share its record. */
  list(): Route[] {
    const functions = new Map<string, Function>(this.#functions.list().map((record) => [record.id, record]));
    return this.#list.all().flatMap((row) => {
      const found = functions.get(row.function_id);
      return found === undefined ? [] : [routeOf(row, found)];
    });
  }

  all(): Promise<Route[]> {
    return this.#writer.asOfOneMoment(async () => this.readNow(await this.#functions.readNow()));
  }

  /** Reads all routes in slices, each as of its own moment. Routes of one function share its record. */
  async readNow(functions: readonly Function[]): Promise<Route[]> {
    const byId = new Map(functions.map((record) => [record.id, record]));
    const found = await readAll(
      this.#places.all(),
      (places) => this.#rowsAt.all({ places }),
      (row) => {
        const fn = byId.get(row.function_id);
        return fn && routeOf(row, fn);
      },
    );
    return found.filter((route) => route !== undefined);
  }

  async page(query: PageQuery): Promise<Page<Route>> {
    const { records, last } = await readPage(
      (place) => this.#page.all({ ...place }),
      query,
      (row) => this.#routeOf(row),
    );
    return { records: records.filter((route) => route !== undefined), last };
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }

  async insert(route: Route, basis?: Basis): Promise<void> {
    await this.#write(
      () => this.insertNow(route),
      () => this.#added(route),
      basis,
    );
  }

  /** Part of a transaction: like `insert`. */
  insertNow(route: Route): void {
    this.inserting(route)();
  }

  /** Returns the part of a transaction that inserts a route. Its row is made now. */
  inserting(route: Route): () => void {
    const row = { ...routeRow(route), created_at: timestamp(this.#clock.now()) };
    return () => {
      store(route, () => this.#insert.run(row));
      this.#takeHosts(route);
    };
  }

  async replace(before: Route, after: Route, basis?: Basis): Promise<void> {
    const committed = () => {
      this.#removed(before);
      this.#added(after);
    };
    await this.#write(() => this.replaceNow(before, after), committed, basis);
  }

  /** Part of a transaction: like `replace`. */
  replaceNow(before: Route, after: Route): void {
    if (!Bun.deepEquals(this.#get.get({ id: before.id }), routeRow(before))) throw new StaleError();
    this.replacing(after)();
  }

  /** Like `inserting` for a change of a route that is known to be as it was read. */
  replacing(after: Route): () => void {
    const row = { ...routeRow(after) };
    return () => {
      this.leaveHostsNow(after);
      store(after, () => this.#update.run(row));
      this.#takeHosts(after);
    };
  }

  /** Part of a transaction that goes on to write or delete a route: its hosts are free for others. */
  leaveHostsNow({ id }: Pick<Route, "id">): void {
    this.#leaveHosts.run({ id });
  }

  #takeHosts({ id, hosts }: Route): void {
    for (const host of hosts) {
      try {
        this.#takeHost.run({ host, id });
      } catch (error) {
        if (!violates(error, "unique")) throw error;
        const message = `A route with the host ${JSON.stringify(host)} exists already: choose another host, or PATCH that one`;
        throw new AppError("conflict", message, { cause: error });
      }
    }
  }

  #added({ id, path, hosts }: Route): void {
    if (path !== null) this.#paths?.add(path);
    for (const host of hosts) this.#hosts?.set(host, id);
  }

  #removed({ path, hosts }: Route): void {
    if (path !== null) this.#paths?.delete(path);
    for (const host of hosts) this.#hosts?.delete(host);
  }

  /** Part of a transaction. */
  deleteNow(id: string): void {
    this.#delete.run({ id });
  }

  /** Forgets what is cached, after several have changed together. */
  refresh(): void {
    this.#paths = undefined;
    this.#hosts = undefined;
    this.#versions.routesChanged();
    this.#forget();
  }

  delete(id: string): Promise<Route | undefined> {
    const work = () => {
      const before = this.get(id);
      this.deleteNow(id);
      return before;
    };
    return this.#write(work, (deleted) => deleted && this.#removed(deleted));
  }

  #write<T>(work: () => T, committed: (result: T) => void, basis?: Basis): Promise<T> {
    return this.#writer.write(work, {
      basis,
      committed: (result) => {
        this.#versions.routesChanged();
        this.#forget();
        committed(result);
      },
    });
  }

  #forget(): void {
    this.#byId.clear();
    this.#byPath.clear();
  }

  /** Returns the route of a row; undefined if its function is gone. */
  #routeOf(row: RouteRow | undefined): Route | undefined {
    const found = row && this.#functions.get(row.function_id);
    return row && found && routeOf(row, found);
  }
}

/** Runs a statement that writes a route, and turns what the database refuses into what a caller may see. */
function store(route: Route, run: () => unknown): void {
  const { path } = route;
  try {
    run();
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

function routeRow({ function: { id }, ...route }: Route): RouteRow {
  return {
    ...route,
    path: route.path ?? `//${route.id}`,
    function_id: id,
    hosts: JSON.stringify(route.hosts),
    async: Number(route.async),
    methods: JSON.stringify(route.methods),
    cors: toNullableJson(route.cors),
    rate_limit: toNullableJson(route.rate_limit),
    split: toNullableJson(route.split),
  };
}

function routeOf(row: RouteRow, fn: Function): Route {
  const { id, auth, max_request_bytes, version, event } = row;
  const hosts: Route["hosts"] = fromJson(row.hosts);
  return deepFreeze({
    id,
    path: hosts.length > 0 ? null : row.path,
    function: fn,
    hosts,
    auth,
    max_request_bytes,
    async: row.async === 1,
    version,
    event,
    methods: fromJson(row.methods),
    cors: fromNullableJson(row.cors),
    rate_limit: fromNullableJson(row.rate_limit),
    split: fromNullableJson(row.split),
  });
}
