import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { AppError } from "../../domain/errors.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import { type Guard, resource } from "../access/guard.ts";
import { callFor, type CallDeps } from "../calls/invoke.ts";
import type { CallPath } from "../calls/request.ts";
import { shownOnRoutes } from "../calls/submit.ts";
import { asksForWebSocket } from "../calls/websocket/upgrade.ts";
import { callDetail } from "../openapi/calls.ts";
import { pathOf, SANDBOX_HEADERS } from "../wire/errors.ts";
import { percentDecoded } from "../wire/raw-paths.ts";
import { bare, OPENFAAS_TAG } from "./documented.ts";
import { functionNamed } from "./names.ts";

const NO_SOCKET = "A WebSocket cannot wait for its turn: open it at /function/NAME";

/** The ids that a client may give its call: what can be in a header and in a log line. */
const CALL_ID = /^[\w.:/=+-]{1,128}$/;

/**
 * `/function/<name>` or `/async-function/<name>`, and every path below: any method, for callers with the scope `invoke`. Functions
 * are not public here, as they are with OpenFaaS.
 */
export function openfaasCallRoutes(
  guard: Guard<"invoke">,
  functions: FunctionService,
  calls: CallDeps,
  { async: isAsync }: { readonly async: boolean },
) {
  return resource(guard, OPENFAAS_TAG).all(
    "/*",
    async ({ request, set }) => {
      Object.assign(set.headers, SANDBOX_HEADERS);
      const began = calls.clock.now();
      const from = calls.clock.monotonic();
      const path = percentDecoded(pathOf(request.url));
      const { name, path_rest } = partsOf(path.slice(guard.prefix.length + 1));
      const fn = await calls.freshness.find(() => functions.get(name));
      const id = calls.requestId(set);
      const caller = guard.callerOf(request);
      const told = tracingHeaders(request, id, began);
      const where: CallPath = {
        path,
        path_rest,
        route: `${guard.prefix}/${name}/*`,
        keyed: true,
        added_headers: told,
      };
      if (isAsync && asksForWebSocket(request)) throw new AppError("invalid_request", NO_SOCKET);
      let made: string | undefined;
      const shown = (invocation: Invocation) => {
        made = invocation.id;
        return shownOnRoutes(invocation);
      };
      const submission = isAsync ? { query: asynchronously(request), caller, shown } : undefined;
      const target = { function: fn, route_id: null, key_id: caller.key_id };
      const answer = await callFor(guard, calls, request, { id, target, path: where, submission });
      const response = isAsync && answer.status === 202 ? new Response(null, { status: 202 }) : answer;
      for (const [header, value] of Object.entries(told)) response.headers.set(header, value);
      // Of a request with the Idempotency-Key of an earlier one, the invocation is that one's.
      if (told["x-call-id"] === id) response.headers.set("x-call-id", made ?? answer.headers.get("x-request-id") ?? id);
      response.headers.set("X-Duration-Seconds", secondsSince(calls.clock, from));
      return response;
    },
    { needs: "invoke", parse: "none", detail: detailOf(isAsync) },
  );
}

function detailOf(isAsync: boolean) {
  const detail = isAsync
    ? callDetail("openfaasSubmit", "Call a function asynchronously, as with OpenFaaS", [400, 401, 403, 404, 421])
    : callDetail("openfaasInvoke", "Call a function as with OpenFaaS", [400, 401, 403, 404, 421]);
  const description = isAsync
    ? "The answer is 202 without a body as soon as the call is on the disk. Its result is sent to the URL in `X-Callback-Url`, if the request has that: " +
      "the body and headers of the function's answer, with `X-Call-Id`, `X-Function-Name`, `X-Function-Status` and `X-Duration-Seconds`."
    : "The path begins with the function's name, or `name.openfaas-fn`; what follows is the path for its server. " +
      "Answers have `X-Call-Id`, `X-Start-Time` (nanoseconds since the epoch) and `X-Duration-Seconds`, and so has the request for the function, but for the last.";
  const responses = isAsync
    ? { ...detail.responses, ...bare(202, "The call is on the disk and will be made.") }
    : detail.responses;
  return { ...detail, description: `${description}\n\n${detail.description}`, responses };
}

/** Returns the function's name at the beginning of a path, and what follows the slash behind it. */
function partsOf(path: string): { readonly name: string; readonly path_rest: string } {
  const slash = path.indexOf("/");
  const first = slash === -1 ? path : path.slice(0, slash);
  if (first === "") throw new AppError("not_found", "The path names no function: add its name, as in /function/figlet");
  return { name: functionNamed(first), path_rest: slash === -1 ? "" : path.slice(slash + 1) };
}

function asynchronously({ headers }: Request) {
  const callback_url = headers.get("x-callback-url");
  return { async: "true", ...(callback_url !== null && callback_url !== "" && { callback_url }) };
}

/** Returns the headers by which OpenFaaS follows a call: the id that its client gave, or its own, and when it began. */
function tracingHeaders({ headers }: Request, id: string, now: number): Readonly<Record<string, string>> {
  const given = headers.get("x-call-id") ?? "";
  return { "x-call-id": CALL_ID.test(given) ? given : id, "x-start-time": `${now}000000` };
}

function secondsSince(clock: Clock, from: number): string {
  return ((clock.monotonic() - from) / 1_000).toFixed(6);
}
