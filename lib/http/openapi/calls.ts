import { Invocation } from "../../domain/calls/invocations.ts";
import { Envelope } from "../wire/envelope.ts";
import type { ErrorStatus } from "../wire/status-of.ts";
import { exampleOf, toOpenApi } from "./schema.ts";
import { REQUEST_ID_HEADER } from "./errors.ts";
import { errorDetails } from "./operation.ts";

/** What any call can end with that is not the function's own answer. */
const CALL_ERRORS = [408, 413, 422, 429, 502, 503, 504, 507] as const satisfies readonly ErrorStatus[];

/** The documentation of `/r/<path>`, whichever method a route has. */
export function routeCallDetail() {
  const detail = callDetail("callRoute", "Call the function of a route", [400, 401, 403, 404, 405]);
  return {
    ...detail,
    description:
      `${detail.description}\n\nA route says which methods call its function (\`POST\` unless it says otherwise; the others ` +
      "get a 405 with `Allow`), whether a call needs a key with the scope `invoke`, how often a caller may call " +
      "(`RateLimit`, and 429 beyond it), how large a body may be, and which pages may read the answer (CORS).",
    // A key is asked for where the route does.
    security: [{}, { key: [] }],
    responses: {
      ...detail.responses,
      204: {
        description:
          "`OPTIONS` of a route with CORS and without that method, for which no function is called: what a page may send.",
        headers: {
          ...REQUEST_ID_HEADER,
          Allow: header("The methods of this path.", "string"),
          "Access-Control-Allow-Origin": header("The page's origin, or `*`; absent for one that may not.", "string"),
          "Access-Control-Allow-Methods": header("The methods that it may use.", "string"),
          "Access-Control-Allow-Headers": header("The headers that it may send.", "string"),
        },
      },
      200: {
        ...detail.responses[200],
        headers: {
          ...detail.responses[200].headers,
          RateLimit: header(
            "Of a route with a rate limit: how many calls may follow at once (`r`), and in how many seconds one more (`t`).",
            "string",
          ),
          "RateLimit-Policy": header("The limit: calls (`q`) in a window of so many seconds (`w`).", "string"),
        },
      },
    },
  };
}

/** The documentation of an endpoint that answers with a function's own response. */
export function callDetail(operationId: string, summary: string, errors: readonly ErrorStatus[]) {
  return {
    operationId,
    summary,
    description:
      "The request body reaches the function as `request.json`, byte for byte, whatever it is (no body as `{}`); one that " +
      "is not JSON by its content type is `request.body` too, and `request.meta.json` tells of the request. " +
      "The answer is `response.json` as the function left it, or `response.body`, with the status and headers of its " +
      "`response.meta.json` where it wrote one. Every call runs in a container of its own.\n\n" +
      "With `Prefer: respond-async` (or `async=true`, where there is that parameter) the answer is 202 as soon as the call is " +
      "on the disk, and the function is called later, at least once. An `Idempotency-Key` makes it the same call for 24 hours.",
    requestBody: { content: { "application/json": { schema: {}, example: { message: "hello-world" } } } },
    responses: {
      ...errorDetails(...errors, ...CALL_ERRORS),
      200: own("The function exited with 0: its `response.json` (`{}` where it wrote nothing).", {
        success: true,
        data: { message: "hello-world" },
      }),
      202: accepted(),
      default: own(
        "The status that a function which exited with 0 gave in `response.meta.json`, with its headers and content type.",
        { made: true },
      ),
      500: own(
        "The function exited with another code and wrote a response: its `response.json`. " +
          "Without `X-Function-Exit-Code` it is an `Error`: a fault of the server.",
        { success: false, message: "missing message" },
      ),
    },
  };
}

function accepted() {
  const schema = toOpenApi(Envelope(Invocation, "The invocation, queued."));
  return {
    description: "The call is on the disk and will be made: the invocation.",
    headers: {
      ...REQUEST_ID_HEADER,
      Location: header("Where the invocation is to be seen.", "string"),
      "Preference-Applied": header("`respond-async`, where that was preferred.", "string"),
      "Idempotency-Replayed": header("`true` for a call that was made before.", "string"),
    },
    content: { "application/json": { schema, example: exampleOf(schema) } },
  };
}

function own(description: string, example: object) {
  return {
    description,
    headers: {
      ...REQUEST_ID_HEADER,
      "X-Function-Exit-Code": header("What the function exited with.", "integer"),
      "Server-Timing": header("What the caller waited for, in milliseconds: queue, start, run.", "string"),
    },
    content: { "application/json": { schema: {}, example } },
  };
}

function header(description: string, type: "integer" | "string") {
  return { description, schema: { type } };
}
