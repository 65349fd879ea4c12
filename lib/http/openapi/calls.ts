import { type TSchema, Type } from "@sinclair/typebox";
import { Invocation } from "../../domain/calls/invocations.ts";
import { Envelope } from "../wire/envelope.ts";
import type { ErrorStatus } from "../wire/status-of.ts";
import { exampleOf, toOpenApi } from "./schema.ts";
import { REQUEST_ID_HEADER } from "./errors.ts";
import { errorDetails } from "./operation.ts";

/** The errors that any call can end with. */
const CALL_ERRORS = [408, 413, 422, 429, 502, 503, 504, 507] as const satisfies readonly ErrorStatus[];

/** Returns the documentation of `/r/<path>`, for every method. */
export function routeCallDetail() {
  const detail = callDetail("callRoute", "Call the function of a route", [400, 401, 403, 404, 405]);
  return {
    ...detail,
    description:
      `${detail.description}\n\nThe route decides which methods call its function (\`POST\` by default; the others get a 405 ` +
      "with `Allow`), whether a call needs a key with the scope `invoke`, how often a client may call (`RateLimit`, and " +
      "429 beyond it), how large a body may be, whether a call may be asynchronous, and which pages may read the answer (CORS).",
    // Only some routes need a key.
    security: [{}, { key: [] }],
    responses: {
      ...detail.responses,
      202: later(() =>
        accepted(
          Type.Pick(Invocation, ["id", "status", "created_at"]),
          "The call is on the disk and will be made. Only on a route with `async`; any other ignores the preference.",
        ),
      ),
      204: {
        description:
          "The answer to a CORS preflight, if the route has CORS and its function is not called for `OPTIONS`.",
        headers: {
          ...REQUEST_ID_HEADER,
          Allow: header("The methods of this path.", "string"),
          "Access-Control-Allow-Origin": header(
            "The page's origin, or `*`; absent if the origin is not allowed.",
            "string",
          ),
          "Access-Control-Allow-Methods": header("The methods that the page may use.", "string"),
          "Access-Control-Allow-Headers": header("The headers that the page may send.", "string"),
        },
      },
      200: {
        ...detail.responses[200],
        headers: {
          ...detail.responses[200].headers,
          RateLimit: header(
            "If the route has a rate limit: the calls that are left now (`r`), and the seconds until there is one more (`t`).",
            "string",
          ),
          "RateLimit-Policy": header("The limit: calls (`q`) per window of so many seconds (`w`).", "string"),
        },
      },
    },
  };
}

/** Returns the documentation of an endpoint that answers with a function's own response, and of its `errors`. */
export function callDetail(operationId: string, summary: string, errors: readonly ErrorStatus[]) {
  return {
    operationId,
    summary,
    description:
      "The function gets the request body as `request.json`, byte for byte, whatever it is (`{}` if there is none). If its " +
      "content type is not JSON, the body is in `request.body`, too. `request.meta.json` describes the request. " +
      "The answer is the function's `response.json` or `response.body`, with the status and headers of its " +
      "`response.meta.json` if it wrote one. Every call runs in a container of its own.\n\n" +
      "A function of the contract `stdio` gets the request body as its standard input and the rest of the request as the variables of " +
      "CGI/1.1; the answer is its standard output, with the function's `content_type`, or with the status and headers that it printed in " +
      'front of it (`output: "cgi"`). Beyond 64 KiB, or with `stream` from the first byte on, it is sent while the function runs.\n\n' +
      "With `Prefer: respond-async` (or `async=true`, if there is that parameter) the answer is 202 as soon as the call is on " +
      "the disk; the function is called later, at least once. Calls with the same `Idempotency-Key` within 24 hours, " +
      "synchronous ones too, are one: later ones get the answer of the first, with `Idempotent-Replayed: true`.",
    requestBody: { content: { "application/json": { schema: {}, example: { message: "hello-world" } } } },
    responses: {
      ...errorDetails(...errors, ...CALL_ERRORS),
      200: own("The function exited with 0: its `response.json` (`{}` if it wrote nothing).", {
        success: true,
        data: { message: "hello-world" },
      }),
      202: later(() => accepted(Invocation, "The call is on the disk and will be made. `data` is the invocation.")),
      default: own(
        "The status in the `response.meta.json` of a function that exited with 0, with its headers and content type.",
        { made: true },
      ),
      500: own(
        "The function exited with another code and wrote a response: its `response.json`. " +
          "Without `X-Function-Exit-Code` it is an `Error` of the server.",
        { success: false, message: "missing message" },
      ),
    },
  };
}

/** Returns what becomes a part of the document when that is made: most servers are never asked for it. */
function later<T extends object>(make: () => T): T {
  // The document is made of the JSON of its parts.
  return { toJSON: make } as unknown as T;
}

const REPLAYED = header("`true` if an earlier request with this `Idempotency-Key` was answered with this.", "string");

function accepted(record: TSchema, description: string) {
  const schema = toOpenApi(Envelope(record, "The invocation, queued."));
  return {
    description,
    headers: {
      ...REQUEST_ID_HEADER,
      Location: header("The path of the invocation.", "string"),
      "Preference-Applied": header("`respond-async`, if the request preferred it.", "string"),
      "Idempotent-Replayed": REPLAYED,
      "Idempotency-Replayed": header("The same under its first name.", "string"),
    },
    content: { "application/json": { schema, example: exampleOf(schema) } },
  };
}

function own(description: string, example: object) {
  return {
    description,
    headers: {
      ...REQUEST_ID_HEADER,
      "X-Function-Exit-Code": header("The exit code of the function.", "integer"),
      "Idempotent-Replayed": REPLAYED,
      "Server-Timing": header("The parts of the caller's wait, in milliseconds: queue, start, boot, run.", "string"),
    },
    content: { "application/json": { schema: {}, example } },
  };
}

function header(description: string, type: "integer" | "string") {
  return { description, schema: { type } };
}
