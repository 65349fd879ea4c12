import type { Server } from "bun";
import { Elysia, t } from "elysia";
import { AppError } from "../domain/errors.ts";
import { checkFunction } from "../domain/keys.ts";
import type { Invocation } from "../domain/invocations.ts";
import type { FunctionService } from "../services/functions.ts";
import type { Answer, InvocationService, Target } from "../services/invocations.ts";
import type { RouteService } from "../services/routes.ts";
import type { ReadBody } from "./body.ts";
import { errorResponse, pathOf } from "./errors.ts";
import { callDetail } from "./openapi-calls.ts";
import { type Intake, scopeDetail } from "./resource.ts";

/** What a call needs of the request that it came by. */
interface CallContext {
  readonly request: Request;
  readonly server: Server<unknown> | null;
  readonly set: { readonly headers: Record<string, unknown> };
}

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
      const { id, function: fn } = routes.match(path);
      return call(context, { ...options, target: { function: fn, route_id: id } });
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
      return call(context, { invocations, readBody, request_bytes, target });
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
  options: { invocations: InvocationService; readBody: ReadBody; request_bytes: number; target: Target },
): Promise<Response> {
  const { invocations, target } = options;
  const body = await options.readBody(context.request, context.server, options.request_bytes);
  const id = String(context.set.headers["x-request-id"]);
  const answer = await invocations.invoke({ id, target, body, signal: context.request.signal });
  return answerResponse(answer, context.request.headers.get("accept"));
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

function answerResponse({ invocation, response, retry_after_s }: Answer, accept: string | null): Response {
  const { reason, message } = invocation;
  const details = retry_after_s === undefined ? {} : { retry_after_s };
  const answer =
    response === null
      ? errorResponse(
          new AppError(reason ?? "internal", message ?? "The function gave no answer: see its logs", details),
          { request_id: invocation.id, accept },
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
