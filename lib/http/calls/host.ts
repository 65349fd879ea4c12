import { nameInHost } from "../../domain/routes/hosts.ts";
import type { RouteService } from "../../services/functions/routes.ts";
import { NO_FUNCTIONS_HOST } from "../front/front.ts";
import type { Watching } from "../wire/idle-timeouts.ts";
import { pathOf } from "../wire/errors.ts";
import { percentDecoded } from "../wire/raw-paths.ts";
import { receive, refusal, type RouteCalls } from "./route.ts";

/** The dependencies of calls by host. */
interface HostCalls extends RouteCalls {
  readonly watch: Watching["watch"];
}

/** Calls functions that have hosts of their own. */
export interface HostRoutes {
  /** Returns whether a request is for such a host: then nothing else of this server may answer it, whatever its path is. */
  readonly isFor: (request: Request) => boolean;
  /** Answers one of them. It never rejects. */
  readonly answer: (request: Request) => Promise<Response>;
  /** Returns whether a request that nothing here answers may be for such a host, by a route that another server has just made. */
  readonly mayBeNew: (request: Request) => boolean;
  /** Answers one of these, with `otherwise` if it is not. It never rejects. */
  readonly answerNew: (request: Request, otherwise: () => Response) => Promise<Response>;
}

/** Makes the part of the API that comes before all paths. A server without such routes only asks whether there are any. */
export function hostRoutes(routes: RouteService, calls: HostCalls): HostRoutes {
  const headerOf = ({ headers }: Request) => headers.get("host") ?? "";
  const { freshness } = calls;
  const isFor = (request: Request) => routes.hasHosts && routes.atHost(headerOf(request)) !== undefined;
  return {
    isFor,
    answer,
    mayBeNew: (request) => freshness.isShared && !NO_FUNCTIONS_HOST.test(headerOf(request)),
    answerNew: async (request, otherwise) => {
      await freshness.forUnknown();
      return isFor(request) ? answer(request) : otherwise();
    },
  };

  async function answer(request: Request): Promise<Response> {
    const set: { headers: Record<string, string | number> } = { headers: {} };
    const id = calls.requestId(set);
    const response = await answerTo(request, id).catch((error: unknown) => refusal({ request, id }, calls.log, error));
    calls.watch(request);
    for (const name in set.headers)
      if (!response.headers.has(name)) response.headers.set(name, String(set.headers[name]));
    return response;
  }

  async function answerTo(request: Request, id: string): Promise<Response> {
    const header = headerOf(request);
    const route = routes.atHost(header);
    // It was there a moment ago, in the same turn of the event loop.
    if (route === undefined) throw new Error(`No route has the host ${header}`);
    const path = percentDecoded(pathOf(request.url));
    const visit = { ...routes.matchAtHost(route, path), request, id, host: nameInHost(header), path };
    return receive(visit, routes, calls);
  }
}
