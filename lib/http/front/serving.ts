import type { BunRequest, Server } from "bun";
import type { AnyElysia } from "elysia";
import { createBunRouteHandler } from "elysia/adapter/bun/compose";

/** Answers a request that Bun has found a route for. */
export type Handler = (request: BunRequest, server: Server<unknown>) => Response | Promise<Response>;

/** The routes of `Bun.serve`: a handler for each method of a pattern, or one for all. */
export type Routes = Record<string, Handler | Readonly<Record<string, Handler>>>;

/** The parts of an app that `Bun.serve` needs. */
export interface Serving {
  readonly routes: Routes;
  /** Answers what no route is for. */
  readonly fetch: (request: Request) => Response | Promise<Response>;
}

/**
 * Returns what Elysia's own `listen` gives to Bun: a route for each of the app's, composed at its first request, so that Bun finds
 * them; `fetch` has those with a wildcard. `raw` are further routes.
 */
export function servingOf(app: AnyElysia, raw: Readonly<Record<string, Handler>>): Serving {
  app.compile();
  const routes: Record<string, Record<string, Handler>> = {};
  for (const route of app.routes) {
    if (route.path.endsWith("*")) continue;
    const path = encodeURI(route.path.length > 1 ? route.path.replace(/\/$/, "") : route.path);
    let composed: Handler | undefined;
    (routes[path] ??= {})[route.method] = (request, server) =>
      (composed ??= createBunRouteHandler(app, route) as Handler)(request, server); // by its own words
  }
  return { routes: { ...raw, ...routes }, fetch: fetchOf(app) };
}

/** Returns the same, with answers that each end their connection. */
export function lastAnswersOf({ routes, fetch }: Serving): Serving {
  const lastOf =
    (handler: Handler): Handler =>
    async (request, server) =>
      last(await handler(request, server));
  const lastRoutes: Routes = {};
  for (const [pattern, handlers] of Object.entries(routes)) {
    if (typeof handlers === "function") lastRoutes[pattern] = lastOf(handlers);
    else {
      const ofMethods: Record<string, Handler> = {};
      for (const [method, handler] of Object.entries(handlers)) ofMethods[method] = lastOf(handler);
      lastRoutes[pattern] = ofMethods;
    }
  }
  return { routes: lastRoutes, fetch: async (request) => last(await fetch(request)) };
}

/** A request that has become a WebSocket has no answer. */
function last(response: Response | undefined): Response {
  response?.headers.set("Connection", "close");
  return response as Response; // as `handler` returns it to Bun
}

/**
 * Returns what finds the handler of a request by its URL. Elysia looks for the path behind the seventh character, as hosts may be
 * short (`standardHostname`): it would take the second slash of `https://` for its beginning.
 */
export function fetchOf(app: AnyElysia): Serving["fetch"] {
  return (request) => {
    const { url } = request;
    // The same object, because Bun knows its connection.
    if (url.startsWith("https:")) Object.defineProperty(request, "url", { value: `http${url.slice("https".length)}` });
    return app.fetch(request);
  };
}
