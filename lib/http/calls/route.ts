import { Elysia } from "elysia";
import { AppError } from "../../domain/errors.ts";
import { publicError } from "../../domain/calls/public-message.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type { Match, RouteService } from "../../services/functions/routes.ts";
import type { AccessCheck, Needs } from "../access/access.ts";
import { clientOf } from "../access/client-address.ts";
import { call, type CallDeps } from "./invoke.ts";
import { preflightAnswer, setCors } from "./cors.ts";
import { errorResponse, pathOf, SANDBOX_HEADERS, shownError } from "../wire/errors.ts";
import { percentDecoded } from "../wire/raw-paths.ts";
import { callsFunction, routeMethods } from "./route-methods.ts";
import { routeCallDetail } from "../openapi/calls.ts";
import { shownOnRoutes } from "./submit.ts";
import { beyondLimit, type RateLimits, setRateLimit, type Standing } from "./rate-limits.ts";

/** The dependencies of calls by routes. */
export interface RouteCalls extends CallDeps {
  readonly access: AccessCheck;
  readonly rates: RateLimits;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** A request that has found its route. */
export interface Visit extends Match {
  readonly request: Request;
  readonly id: string;
  /** The host of the route, if the request came by one. */
  readonly host?: string;
  /** The percent-decoded path after `/r`, or at the host. */
  readonly path: string;
  /** The caller's standing with the route's limit, once it is known. */
  standing?: Standing;
}

const ON_ROUTES = { shown: shownOnRoutes };
const KEYED: Needs = { scopes: ["invoke"], key_always: true };

/** `/r/<path>`: public unless the route says otherwise; the answer is the function's own. */
export function callRoutes(routes: RouteService, calls: RouteCalls) {
  return new Elysia({ tags: ["calls"] }).all(
    "/r/*",
    async ({ request, set }) => {
      Object.assign(set.headers, SANDBOX_HEADERS);
      const path = percentDecoded(pathOf(request.url).slice("/r".length));
      const match = await calls.freshness.find(() => routes.match(path));
      return receive({ ...match, request, path, id: calls.requestId(set) }, routes, calls);
    },
    { parse: "none", detail: routeCallDetail() },
  );
}

/** Answers a request that has found its route. It never rejects. */
export async function receive(visit: Visit, routes: RouteService, calls: RouteCalls): Promise<Response> {
  const { request, route } = visit;
  const answer = await answerTo(visit, routes, calls).catch((error: unknown) => refusal(visit, calls.log, error));
  // Also for errors: the page that gets one needs to read it.
  if (visit.standing) setRateLimit(answer.headers, visit.standing);
  if (route.cors && !isPreflight(visit)) setCors(answer.headers, route.cors, originOf(request));
  return answer;
}

async function answerTo(visit: Visit, routes: RouteService, calls: RouteCalls): Promise<Response> {
  const { request, route, host, path, path_rest, id } = visit;
  const { cors, methods } = route;
  if (cors !== null && isPreflight(visit)) {
    return preflightAnswer(cors, originOf(request), { methods, allow: routeMethods(route) });
  }
  if (!callsFunction(route, request.method)) return wrongMethod(visit);
  const keyed = route.auth === "key";
  const key = keyed ? await keyOf(visit, calls) : null;
  admit(visit, calls, key);
  const limit = Math.min(calls.request_bytes, route.max_request_bytes ?? Infinity);
  const fn = routes.functionFor(route, { id, header: (name) => request.headers.get(name) });
  return call({ ...calls, request_bytes: limit }, request, {
    id,
    target: { function: fn, route_id: route.id, key_id: key },
    path: {
      ...(host !== undefined && { host }),
      path,
      path_rest,
      route: route.path ?? `${host}/*`,
      ...(route.event === "raw" && { event: "raw" }),
      keyed,
    },
    may_read: false,
    submission: route.async ? ON_ROUTES : undefined,
  });
}

/** Returns the caller's key. Throws if none was sent, or one that may not call the function. */
async function keyOf({ request, route }: Visit, { access, server }: RouteCalls): Promise<string | null> {
  return (await access(request, server(), { ...KEYED, function_id: route.function.id })).key_id;
}

/** Throws for a request beyond the route's limit, before any of it is read. */
function admit(visit: Visit, { rates, server, clientAddress, metrics }: RouteCalls, key: string | null): void {
  const { request, route } = visit;
  const { id, rate_limit } = route;
  if (rate_limit === null) return;
  const address = () => clientOf(clientAddress(request, server()) ?? "");
  visit.standing = rates.count({ id, rate_limit }, rate_limit.by === "key" && key !== null ? `key ${key}` : address());
  if (visit.standing.within) return;
  metrics.rejections.inc({ reason: "too_many_requests" });
  throw beyondLimit(visit.standing);
}

/** Returns whether the server answers itself: an `OPTIONS` for a route with CORS whose function does not handle it. */
function isPreflight({ request, route }: Visit): boolean {
  return request.method === "OPTIONS" && route.cors !== null && !callsFunction(route, "OPTIONS");
}

function wrongMethod({ request, route, id }: Visit): Response {
  const allow = routeMethods(route);
  const error = new AppError(
    "method_not_allowed",
    `Method ${request.method} is not allowed: use ${allow.join(" or ")}`,
  );
  return errorResponse(error, { request_id: id, accept: request.headers.get("accept"), allow });
}

/** Returns what answers a request whose call came to nothing. */
export function refusal({ request, id }: Pick<Visit, "request" | "id">, log: Logger, error: unknown): Response {
  const where = { request_id: id, method: request.method, path: pathOf(request.url) };
  return errorResponse(publicError(shownError(error, log, where)), {
    request_id: id,
    accept: request.headers.get("accept"),
  });
}

function originOf({ headers }: Request): string | null {
  return headers.get("origin");
}
