import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import { ROUTES } from "../../domain/limits.ts";
import { changedOptions, checkRouteOptions, completeOptions, type RouteOptions } from "../../domain/routes/options.ts";
import {
  type CreateRoute,
  type RouteAddress,
  routeAddressOf,
  type Route,
  type UpdateRoute,
} from "../../domain/routes/routes.ts";
import type { Page, PageQuery } from "../../domain/functions/pages.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { nameInHost } from "../../domain/routes/hosts.ts";
import { checkDirections, namedVersions, versionOf } from "../../domain/routes/version-choice.ts";
import { notFound, quoted } from "../../domain/quoted.ts";
import type { Basis } from "../../store/configuration.ts";
import { retryStale } from "../../store/errors.ts";
import type { Store } from "../../store/store.ts";
import type { FunctionService } from "./functions.ts";
import { noVersion } from "./versions.ts";

/** A route that a path leads to. */
export interface Match {
  readonly route: Route;
  /** The part of the path after a prefix route, without a slash in front; null for any other route. */
  readonly path_rest: string | null;
}

interface RouteDeps {
  readonly store: Pick<Store, "routes" | "revision">;
  readonly functions: FunctionService;
  readonly clock: Clock;
  /** The names by which the API is reached, in the form of `nameInHost`. No route has one of them. */
  readonly ownNames: ReadonlySet<string>;
}

/** Manages routes. */
export class RouteService {
  readonly #deps: RouteDeps;

  constructor(deps: RouteDeps) {
    this.#deps = deps;
  }

  /** Lists all routes, oldest first. */
  list(): Promise<Route[]> {
    return this.#deps.store.routes.all();
  }

  page(query: PageQuery): Promise<Page<Route>> {
    return this.#deps.store.routes.page(query);
  }

  /** Finds a route by its id; throws `not_found`. */
  get(id: string): Route {
    const found = this.#deps.store.routes.get(id);
    if (found === undefined) throw notFound("route", id);
    return found;
  }

  /** Returns the route that a path leads to; throws `not_found`. */
  match(path: string): Match {
    const found = this.#deps.store.routes.match(path);
    if (found === undefined) {
      throw new AppError(
        "not_found",
        `No route for ${quoted(path, 200)}: GET /v1/routes lists them, POST /v1/routes makes one`,
      );
    }
    if (found.path_rest !== null) checkRest(found.path_rest);
    return found;
  }

  /** Returns whether requests may come that are for the host of a route: few servers have such routes. */
  get hasHosts(): boolean {
    return this.#deps.store.routes.hasHosts;
  }

  /** Returns the route at the host that a `Host` header names, if there is one. */
  atHost(header: string): Route | undefined {
    const name = nameInHost(header);
    const found = this.#deps.store.routes.atHost(name);
    // The names of the server may have changed since the route was made.
    return found !== undefined && this.#deps.ownNames.has(name) ? undefined : found;
  }

  /** Returns the match of a path below a route's host. */
  matchAtHost(route: Route, path: string): Match {
    const path_rest = path.slice(1);
    checkRest(path_rest);
    return { route, path_rest };
  }

  /** Returns the address of a new route. Throws as `routeAddressOf` does; `asked` is the `Host` of the request, if it came by HTTP. */
  routeAddressOf(
    given: { readonly path?: string | null; readonly hosts?: readonly string[] },
    before?: RouteAddress,
    asked?: string,
  ): RouteAddress {
    const { ownNames } = this.#deps;
    return routeAddressOf(given, asked === undefined ? ownNames : new Set([...ownNames, nameInHost(asked)]), before);
  }

  /**
   * Returns the function that a call of a route runs: as it is now, or in the version that the route says. `header`
   * reads the request's headers; `id` is unique to the call.
   */
  functionFor(route: Route, { id, header }: { id: string; header: (name: string) => string | null }): Function {
    // Most routes name no version: their calls draw no ticket.
    if (route.version === null && route.split === null) return route.function;
    const { sticky_header = null } = route.split ?? {};
    const version = versionOf(route, (sticky_header === null ? null : header(sticky_header)) ?? id);
    const found = version === null ? route.function : this.#deps.functions.at(route.function, version);
    if (found === undefined) throw new Error(`Route ${route.id} names version ${version}, which is not kept`);
    return found;
  }

  /** Creates a route. `asked` is the `Host` by which the API was reached: it stays the API's. */
  async create(body: CreateRoute, asked?: string): Promise<Route> {
    const address = this.routeAddressOf(body, undefined, asked);
    if (this.#deps.store.routes.count() >= ROUTES)
      throw new AppError("conflict", `There are ${ROUTES} routes already: delete some`);
    const { path: _path, function_id, ...given } = body;
    const fn = this.#deps.functions.get(function_id);
    const options = completeOptions(given, fn.contract);
    checkRouteOptions(options);
    const created = this.recordOf(address, fn, options);
    await retryStale(async () => {
      const basis = await this.checkVersions(created);
      await this.#deps.store.routes.insert(created, basis);
    });
    this.changed(undefined, created);
    return created;
  }

  /** Returns the record of a new route. */
  recordOf({ path, hosts }: RouteAddress, fn: Function, options: RouteOptions): Route {
    return { id: this.#deps.clock.uuid(), path, function: fn, ...options, hosts };
  }

  /** Changes a route; `asked` as for `create`. */
  async update(id: string, body: UpdateRoute, asked?: string): Promise<Route> {
    const { function_id, ...changes } = body;
    const { before, after } = await retryStale(async () => {
      const before = this.get(id);
      const fn = function_id === undefined ? before.function : this.#deps.functions.get(function_id);
      const after: Route = {
        ...before,
        ...changedOptions(before, changes),
        function: fn,
        ...this.routeAddressOf(body, before, asked),
      };
      checkRouteOptions(after);
      if (fn.id !== before.function.id) checkMove(before, body);
      const basis = await this.checkVersions(after, before);
      await this.#deps.store.routes.replace(before, after, basis);
      return { before, after };
    });
    this.changed(before, after);
    return after;
  }

  /** Deletes a route and returns it. */
  async delete(id: string): Promise<Route> {
    const deleted = await this.#deps.store.routes.delete(id);
    if (deleted === undefined) throw notFound("route", id);
    this.changed(deleted, undefined);
    return deleted;
  }

  /** Informs the functions whose versions a route names, or named, that it was changed, added or deleted. */
  changed(before: Route | undefined, after: Route | undefined): void {
    const [left, joined] = [before, after].map(
      (route) => route && { id: route.function.id, versions: namedVersions(route) },
    );
    if (Bun.deepEquals(left, joined)) return;
    for (const id of new Set([left, joined].map((one) => (one?.versions.length ? one.id : undefined)))) {
      if (id !== undefined) this.#deps.functions.routesChanged(id);
    }
  }

  /**
   * Throws `invalid_request` if a route names versions that its function does not have, and `image_invalid` if other servers cannot
   * get the image of one that it did not name `before`. Returns the basis of a write that depends on them; undefined if the route
   * names none.
   */
  async checkVersions(route: Route, before?: Route): Promise<Basis | undefined> {
    const { revision } = this.#deps.store;
    checkDirections(route);
    const { function: fn } = route;
    const versions = namedVersions(route);
    const known = before?.function.id === fn.id ? namedVersions(before) : [];
    for (const version of versions) {
      const found = await this.#deps.functions.findVersion(fn, version);
      if (found === undefined) throw new AppError("invalid_request", noVersion(fn, String(version)));
      if (!known.includes(version)) this.#deps.functions.checkReach(fn, found);
    }
    return versions.length === 0 ? undefined : { revision };
  }
}

/** Throws if a route moves to another function and keeps a version: the numbers mean other versions there. */
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

/**
 * Refuses `.` and `..`. URL parsers resolve them, so a caller who sends them in disguise (`%2e%2e%2f`) wants the
 * function to look outside of the route.
 */
function checkRest(rest: string): void {
  if (!/(?:^|\/)\.\.?(?:\/|$)/.test(rest)) return;
  throw new AppError(
    "invalid_request",
    `The path goes on with ${quoted(rest, 200)}, which has a "." or ".." segment: send it resolved`,
  );
}
