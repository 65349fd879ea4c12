import type { Server } from "bun";
import { Elysia, t } from "elysia";
import { AppError } from "../domain/errors.ts";
import { checkFunction } from "../domain/keys.ts";
import type { FunctionService } from "../services/functions.ts";
import type { InvocationService, Target } from "../services/invocations.ts";
import type { RouteService } from "../services/routes.ts";
import type { ReadBody } from "./body.ts";
import { answerResponse } from "./call-answer.ts";
import { callMessage, type CallPath, wantsBodyFile } from "./call-request.ts";
import { pathOf } from "./errors.ts";
import { callDetail } from "./openapi-calls.ts";
import { type Intake, scopeDetail } from "./resource.ts";

/** What a call needs of the request that it came by. */
interface CallContext {
  readonly request: Request;
  readonly server: Server<unknown> | null;
  readonly set: { readonly headers: Record<string, unknown> };
}

/** What a function is told where no route led to it: a key that came along was for this server. */
const WITHOUT_ROUTE: CallPath = { path: "/", path_rest: null, route: null, keyed: true };

/** `POST /r/<path>`: public, as in the seed; the answer is the function's own. */
export function callRoutes(options: {
  routes: RouteService;
  invocations: InvocationService;
  readBody: ReadBody;
  request_bytes: number;
}) {
  const { routes } = options;
  return new Elysia({ tags: ["calls"] }).post(
    "/r/*",
    async (context) => {
      const path = calledPath(context.request.url);
      const { id, path: route, function: fn } = routes.match(path);
      const target = { function: fn, route_id: id };
      return call(context, { ...options, target, path: { path, path_rest: null, route, keyed: false } });
    },
    {
      parse: "none",
      detail: { ...callDetail("callRoute", "Call the function of a route", [400, 404, 405]), security: [] },
    },
  );
}

/** `POST /v1/functions/:id/invoke`: the same without a route, for those who may use `/v1`. */
export function invokeRoutes(options: {
  functions: FunctionService;
  invocations: InvocationService;
  intake: Intake;
  request_bytes: number;
}) {
  const { functions, invocations, intake, request_bytes } = options;
  const { access, readBody } = intake;
  return new Elysia({ tags: ["calls"] }).post(
    "/v1/functions/:id/invoke",
    async (context) => {
      const caller = access(context.request, context.server);
      const target = { function: functions.get(context.params.id), route_id: null };
      checkFunction(caller, target.function.id);
      return call(context, { invocations, readBody, request_bytes, target, path: WITHOUT_ROUTE });
    },
    {
      params: t.Object({
        id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
      }),
      parse: "none",
      detail: {
        ...callDetail("invokeFunction", "Call a function without a route", [400, 401, 403, 404, 421]),
        ...scopeDetail(intake.scopes),
      },
    },
  );
}

async function call(
  context: CallContext,
  options: {
    invocations: InvocationService;
    readBody: ReadBody;
    request_bytes: number;
    target: Target;
    path: CallPath;
  },
): Promise<Response> {
  const { invocations, target, path } = options;
  const { request, server } = context;
  const body = await options.readBody(request, server, options.request_bytes);
  const answer = await invocations.invoke({
    id: String(context.set.headers["x-request-id"]),
    ...{ target, body, body_file: wantsBodyFile(request, body), message: callMessage(request, server, path) },
    signal: request.signal,
  });
  return answerResponse(answer, request.headers.get("accept"));
}

/** The percent-decoded path after `/r`, which a route must equal. */
function calledPath(url: string): string {
  const path = pathOf(url).slice("/r".length);
  try {
    return decodeURIComponent(path);
  } catch (error) {
    throw new AppError(
      "invalid_request",
      "The path has a percent sign that no valid code follows: write the sign itself as %25",
      {
        cause: error,
      },
    );
  }
}
