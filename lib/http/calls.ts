import type { Server } from "bun";
import { Elysia, t } from "elysia";
import { AppError } from "../domain/errors.ts";
import { checkFunction } from "../domain/keys.ts";
import type { FunctionService } from "../services/functions.ts";
import type { RawSubmissionQuery } from "../domain/submissions.ts";
import type { InvocationService, Target } from "../services/invocations.ts";
import type { RouteService } from "../services/routes.ts";
import type { ReadBody } from "./body.ts";
import { answerResponse } from "./call-answer.ts";
import { callMessage, type CallPath, wantsBodyFile } from "./call-request.ts";
import { pathOf, type RequestId, SANDBOX_HEADERS } from "./errors.ts";
import { callDetail } from "./openapi-calls.ts";
import { type Intake, scopeDetail } from "./resource.ts";
import { SubmissionQuery, type Submissions } from "./submissions.ts";

/** What both ways to call a function need. */
interface Calls {
  readonly invocations: InvocationService;
  readonly submissions: Submissions;
  readonly readBody: ReadBody;
  readonly requestId: RequestId;
  readonly server: () => Server<unknown> | null;
  readonly request_bytes: number;
}

/** What a function is told where no route led to it: a key that came along was for this server. */
const WITHOUT_ROUTE: CallPath = { path: "/", path_rest: null, route: null, keyed: true };

/** `POST /r/<path>`: public, as in the seed; the answer is the function's own. */
export function callRoutes(routes: RouteService, calls: Calls) {
  return new Elysia({ tags: ["calls"] }).post(
    "/r/*",
    async ({ request, set }) => {
      Object.assign(set.headers, SANDBOX_HEADERS);
      const path = calledPath(request.url);
      const { id: route_id, path: route, function: fn } = routes.match(path);
      return call(calls, request, {
        id: calls.requestId(set),
        target: { function: fn, route_id },
        path: { path, path_rest: null, route, keyed: false },
      });
    },
    {
      parse: "none",
      detail: { ...callDetail("callRoute", "Call the function of a route", [400, 404, 405]), security: [] },
    },
  );
}

/** `POST /v1/functions/:id/invoke`: the same without a route, for those who may use `/v1`. */
export function invokeRoutes(functions: FunctionService, { access, scopes }: Intake, calls: Calls) {
  return new Elysia({ tags: ["calls"] }).post(
    "/v1/functions/:id/invoke",
    async ({ request, set, params: { id }, query }) => {
      const caller = access(request);
      const fn = functions.get(id);
      checkFunction(caller, fn.id);
      const target = { function: fn, route_id: null };
      return call(calls, request, { id: calls.requestId(set), target, path: WITHOUT_ROUTE, query });
    },
    {
      query: SubmissionQuery,
      params: t.Object({
        id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
      }),
      parse: "none",
      detail: {
        ...callDetail("invokeFunction", "Call a function without a route", [400, 401, 403, 404, 421]),
        ...scopeDetail(scopes),
      },
    },
  );
}

async function call(
  { invocations, submissions, readBody, server, request_bytes }: Calls,
  request: Request,
  {
    id,
    target,
    path,
    query,
  }: { readonly id: string; readonly target: Target; readonly path: CallPath; readonly query?: RawSubmissionQuery },
): Promise<Response> {
  const body = await readBody(request, request_bytes);
  const asked = {
    id,
    ...{ target, body, body_file: wantsBodyFile(request, body), message: callMessage(request, server(), path) },
  };
  const taken = await submissions.take(request, asked, query);
  if (taken !== undefined) return taken;
  const answer = await invocations.invoke({ ...asked, signal: request.signal });
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
