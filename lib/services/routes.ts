import type { Clock } from "../clock.ts";
import { AppError } from "../domain/errors.ts";
import { ROUTES } from "../domain/limits.ts";
import { ROUTE_DEFAULTS } from "../domain/route-options.ts";
import { checkRoutePath, type CreateRoute, type Route, type UpdateRoute } from "../domain/routes.ts";
import type { RouteStore } from "../store/routes.ts";
import type { FunctionService } from "./functions.ts";

/** What can be done with routes. */
export class RouteService {
  readonly #store: RouteStore;
  readonly #functions: FunctionService;
  readonly #clock: Clock;

  constructor(options: { store: RouteStore; functions: FunctionService; clock: Clock }) {
    this.#store = options.store;
    this.#functions = options.functions;
    this.#clock = options.clock;
  }

  list(): Route[] {
    return this.#store.list();
  }

  /** Finds a route by its id; throws `not_found`. */
  get(id: string): Route {
    const found = this.#store.get(id);
    if (found === undefined) throw unknown(id);
    return found;
  }

  /** The route with exactly this path; throws `not_found`. */
  match(path: string): Route {
    const found = this.#store.getByPath(path);
    if (found === undefined) {
      throw new AppError(
        "not_found",
        `No route for ${JSON.stringify(path.slice(0, 200))}: GET /v1/routes lists them, POST /v1/routes makes one`,
      );
    }
    return found;
  }

  async create(body: CreateRoute): Promise<Route> {
    checkRoutePath(body.path);
    if (this.#store.count() >= ROUTES)
      throw new AppError("conflict", `There are ${ROUTES} routes already: delete some`);
    const { path, function_id, ...options } = body;
    const fn = this.#functions.get(function_id);
    const created: Route = { id: this.#clock.uuid(), path, function: fn, ...ROUTE_DEFAULTS, ...options };
    await this.#store.insert(created);
    return created;
  }

  async update(id: string, body: UpdateRoute): Promise<Route> {
    if (body.path !== undefined) checkRoutePath(body.path);
    const { function_id, ...changes } = body;
    const changed = await this.#store.update(id, (current) => ({
      ...current,
      ...changes,
      function: function_id === undefined ? current.function : this.#functions.get(function_id),
    }));
    if (changed === undefined) throw unknown(id);
    return changed.after;
  }

  /** Deletes a route and tells what it was. */
  async delete(id: string): Promise<Route> {
    const deleted = await this.#store.delete(id);
    if (deleted === undefined) throw unknown(id);
    return deleted;
  }
}

function unknown(id: string): AppError {
  return new AppError("not_found", `No route ${JSON.stringify(id.slice(0, 100))}: GET /v1/routes lists them`);
}
