import type { Server } from "bun";
import { t } from "elysia";
import { type Caller, checkFunction } from "../../domain/keys.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import type { RawSubmissionQuery } from "../../domain/calls/submissions.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { Target } from "../../services/calls/record.ts";
import type { ReadBody } from "../wire/body.ts";
import { answerResponse } from "./answer.ts";
import { type CallPath, functionRequest } from "./request.ts";
import type { RequestId } from "../wire/errors.ts";
import { callDetail } from "../openapi/calls.ts";
import { type Guard, resource } from "../access/guard.ts";
import { SubmissionQuery, type Submissions } from "./submit.ts";

/** The dependencies of both ways to call a function. */
export interface Calls {
  readonly invocations: InvocationService;
  readonly submissions: Submissions;
  readonly readBody: ReadBody;
  readonly requestId: RequestId;
  readonly server: () => Server<unknown> | null;
  /** The largest request body. */
  readonly request_bytes: number;
}

/** A function to call, however its caller came to it. */
interface Called {
  /** Becomes the id of the invocation. */
  readonly id: string;
  readonly target: Target;
  readonly path: CallPath;
  readonly query?: RawSubmissionQuery;
  /** Whoever chose what is in the query. */
  readonly caller?: Caller;
}

/** The path of a call without a route: its key, if it has one, was for this server. */
const WITHOUT_ROUTE: CallPath = { path: "/", path_rest: null, route: null, keyed: true };

/** `POST /v1/functions/:id/invoke`: a call without a route, for callers that may use `/v1`. */
export function invokeRoutes(guard: Guard<"invoke">, functions: FunctionService, calls: Calls) {
  return resource(guard, "calls").post(
    "/:id/invoke",
    async ({ request, set, params: { id }, query }) => {
      const fn = functions.get(id);
      const caller = guard.callerOf(request);
      checkFunction(caller, fn.id);
      const target = { function: fn, route_id: null, key_id: caller.key_id };
      return call(calls, request, { id: calls.requestId(set), target, path: WITHOUT_ROUTE, query, caller });
    },
    {
      needs: "invoke",
      query: SubmissionQuery,
      params: t.Object({
        id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
      }),
      parse: "none",
      detail: callDetail("invokeFunction", "Call a function without a route", [400, 401, 403, 404, 421]),
    },
  );
}

/** Calls a function for a request that was admitted. The answer is the function's own, or says why there is none. */
export async function call(
  { invocations, submissions, readBody, server, request_bytes }: Calls,
  request: Request,
  { id, target, path, ...wishes }: Called,
): Promise<Response> {
  const body = await readBody(request, request_bytes);
  const asked = { id, target, request: functionRequest(request, server(), path, body) };
  const taken = await submissions.take(request, asked, wishes);
  if (taken !== undefined) return taken;
  const answer = await invocations.invoke({ ...asked, signal: request.signal });
  return answerResponse(answer, request.headers.get("accept"));
}
