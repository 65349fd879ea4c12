import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import { ROUTES } from "../../domain/limits.ts";
import { checkRouteOptions, fullOptions, ROUTE_DEFAULTS, type RouteOptions } from "../../domain/routes/options.ts";
import { checkRoutePath, type CreateRoute, type Route, type UpdateRoute } from "../../domain/routes/routes.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { checkDirections, namedVersions, versionOf } from "../../domain/routes/version-choice.ts";
import type { RouteStore } from "../../store/sqlite/tables/routes.ts";
import type { FunctionService } from "./functions.ts";
import { noVersion } from "./versions.ts";

/** A route that a path leads to. */
export interface Match {
  readonly route: Route;
  /** What a prefix route leaves of the path, without a slash in front; null for any other. */
  readonly path_rest: string | null;
}

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

  /** The route that a path leads to; throws `not_found`. */
  match(path: string): Match {
    const found = this.#store.match(path);
    if (found === undefined) {
      throw new AppError(
        "not_found",
        `No route for ${JSON.stringify(path.slice(0, 200))}: GET /v1/routes lists them, POST /v1/routes makes one`,
      );
    }
    if (found.path_rest !== null) checkRest(found.path_rest);
    return found;
  }

  /**
   * What a call of a route runs: its function as it is now, or in the version that the route says. `header` reads the
   * request's headers; `id` is what no other call has.
   */
  functionFor(route: Route, { id, header }: { id: string; header: (name: string) => string | null }): Function {
    const { sticky_header = null } = route.split ?? {};
    const version = versionOf(route, (sticky_header === null ? null : header(sticky_header)) ?? id);
    const found = version === null ? route.function : this.#functions.at(route.function, version);
    if (found === undefined) throw new Error(`Route ${route.id} names version ${version}, which is not kept`);
    return found;
  }

  async create(body: CreateRoute): Promise<Route> {
    checkRoutePath(body.path);
    if (this.#store.count() >= ROUTES)
      throw new AppError("conflict", `There are ${ROUTES} routes already: delete some`);
    const { path, function_id, ...given } = body;
    const fn = this.#functions.get(function_id);
    const options = { ...ROUTE_DEFAULTS, ...fullOptions(given) };
    checkRouteOptions(options);
    const created = this.recordOf(path, fn, options);
    await this.#store.insert(created);
    this.changed(undefined, created);
    return created;
  }

  /** The record of a new route. Throws `invalid_request` where it names versions that its function does not have. */
  recordOf(path: string, fn: Function, options: RouteOptions): Route {
    const created: Route = { id: this.#clock.uuid(), path, function: fn, ...options };
    this.#checkVersions(created);
    return created;
  }

  /** The record of a route that is to be another in all but its path. Throws as `recordOf` does. */
  replacementOf({ id, path }: Route, fn: Function, options: RouteOptions): Route {
    const after: Route = { id, path, function: fn, ...options };
    this.#checkVersions(after);
    return after;
  }

  async update(id: string, body: UpdateRoute): Promise<Route> {
    if (body.path !== undefined) checkRoutePath(body.path);
    const { function_id, ...changes } = body;
    const changed = await this.#store.update(id, (current) => {
      const fn = function_id === undefined ? current.function : this.#functions.get(function_id);
      const after: Route = { ...current, ...fullOptions(changes), function: fn };
      checkRouteOptions(after);
      if (fn.id !== current.function.id) checkMove(current, body);
      this.#checkVersions(after);
      return after;
    });
    if (changed === undefined) throw unknown(id);
    this.changed(changed.before, changed.after);
    return changed.after;
  }

  /** Deletes a route and tells what it was. */
  async delete(id: string): Promise<Route> {
    const deleted = await this.#store.delete(id);
    if (deleted === undefined) throw unknown(id);
    this.changed(deleted, undefined);
    return deleted;
  }

  /** A route is another in the database, is new, or gone: tells of the functions whose versions other routes name now. */
  changed(before: Route | undefined, after: Route | undefined): void {
    const [left, joined] = [before, after].map(
      (route) => route && { id: route.function.id, versions: namedVersions(route) },
    );
    if (Bun.deepEquals(left, joined)) return;
    for (const id of new Set([left, joined].map((one) => (one?.versions.length ? one.id : undefined)))) {
      if (id !== undefined) this.#functions.routesChanged(id);
    }
  }

  /** Throws `invalid_request` where a route names versions that its function does not have. */
  #checkVersions(route: Route): void {
    checkDirections(route);
    const { function: fn } = route;
    for (const version of namedVersions(route)) {
      if (this.#functions.at(fn, version) !== undefined) continue;
      throw new AppError("invalid_request", noVersion(fn, String(version)));
    }
  }
}

/** Numbers of one function's versions say nothing about another's. */
function checkMove(before: Route, { version, split }: UpdateRoute): void {
  const missing = [
    before.version !== null && version === undefined && '"version"',
    before.split !== null && split === undefined && '"split"',
  ].filter((name) => name !== false);
  if (missing.length === 0) return;
  throw new AppError(
    "invalid_request",
    `The route names a version of its present function: give ${missing.join(" and ")} together with "function_id", or null`,
  );
}

function unknown(id: string): AppError {
  return new AppError("not_found", `No route ${JSON.stringify(id.slice(0, 100))}: GET /v1/routes lists them`);
}

/**
 * URL parsers resolve `.` and `..`, so who sends them in disguise (`%2e%2e%2f`) wants a function to look elsewhere than
 * the route says.
 */
function checkRest(rest: string): void {
  if (!/(?:^|\/)\.\.?(?:\/|$)/.test(rest)) return;
  throw new AppError(
    "invalid_request",
    `The path goes on with ${JSON.stringify(rest.slice(0, 200))}, which has a "." or ".." segment: send it resolved`,
  );
}
