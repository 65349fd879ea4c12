import { Elysia, t } from "elysia";
import { AppError } from "../domain/errors.ts";
import type { Invocation } from "../domain/invocations.ts";
import type { FunctionService } from "../services/functions.ts";
import type { Answer, InvocationService, Target } from "../services/invocations.ts";
import type { RouteService } from "../services/routes.ts";
import type { ReadBody } from "./body.ts";
import { CALL_HEADERS, errorResponse, pathOf, type RequestId } from "./errors.ts";
import { callDetail } from "./openapi-calls.ts";
import type { Intake } from "./resource.ts";

/** What both ways to call a function need. */
interface Calls {
  readonly invocations: InvocationService;
  readonly readBody: ReadBody;
  readonly requestId: RequestId;
  readonly request_bytes: number;
}

/** `POST /r/<path>`: public, as in the seed; the answer is the function's own. */
export function callRoutes(routes: RouteService, calls: Calls) {
  return new Elysia({ tags: ["calls"] }).post(
    "/r/*",
    async ({ request, set }) => {
      Object.assign(set.headers, CALL_HEADERS);
      const { id, function: fn } = routes.match(calledPath(request.url));
      return call(calls, request, calls.requestId(set), { function: fn, route_id: id });
    },
    {
      parse: "none",
      detail: { ...callDetail("callRoute", "Call the function of a route", [400, 404, 405]), security: [] },
    },
  );
}

/** `POST /v1/functions/:id/invoke`: the same without a route, for those who may use `/v1`. */
export function invokeRoutes(functions: FunctionService, { access }: Intake, calls: Calls) {
  return new Elysia({ tags: ["calls"] }).post(
    "/v1/functions/:id/invoke",
    async ({ request, set, params: { id } }) => {
      access(request);
      return call(calls, request, calls.requestId(set), { function: functions.get(id), route_id: null });
    },
    {
      params: t.Object({
        id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
      }),
      parse: "none",
      detail: callDetail("invokeFunction", "Call a function without a route", [400, 401, 403, 404, 421]),
    },
  );
}

async function call(
  { invocations, readBody, request_bytes }: Calls,
  request: Request,
  id: string,
  target: Target,
): Promise<Response> {
  const body = await readBody(request, request_bytes);
  return answerResponse(await invocations.invoke({ id, target, body, signal: request.signal }));
}

/** The percent-decoded path after `/r`, which a route must equal. */
function calledPath(url: string): string {
  const path = pathOf(url).slice("/r".length);
  try {
    return decodeURIComponent(path);
  } catch (error) {
    throw new AppError("invalid_request", "The path has a percent sign that is followed by no valid code", {
      cause: error,
    });
  }
}

function answerResponse({ invocation, response, retry_after_s }: Answer): Response {
  const { reason, message } = invocation;
  const details = retry_after_s === undefined ? {} : { retry_after_s };
  const answer =
    response === null
      ? errorResponse(
          new AppError(reason ?? "internal", message ?? "The function gave no answer", details),
          invocation.id,
        )
      : new Response(Buffer.from(response.buffer, response.byteOffset, response.byteLength), {
          status: invocation.status === "succeeded" ? 200 : 500,
          headers: { "Content-Type": "application/json" },
        });
  if (invocation.exit_code !== null) answer.headers.set("X-Function-Exit-Code", String(invocation.exit_code));
  answer.headers.set("Server-Timing", serverTiming(invocation));
  return answer;
}

function serverTiming({ queue_ms, start_ms, run_ms, start }: Invocation): string {
  const timings = [
    ["queue", queue_ms],
    ["start", start_ms],
    ["run", run_ms],
  ] as const;
  return timings
    .filter(([, duration]) => duration !== null)
    .map(
      ([name, duration]) => `${name};dur=${duration?.toFixed(2)}${name === "start" && start ? `;desc=${start}` : ""}`,
    )
    .join(", ");
}
