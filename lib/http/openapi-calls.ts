import type { ErrorStatus } from "./errors.ts";
import { REQUEST_ID_HEADER } from "./openapi-errors.ts";
import { errorDetails } from "./openapi-operation.ts";

/** What any call can end with that is not the function's own answer. */
const CALL_ERRORS = [408, 413, 429, 502, 503, 504] as const satisfies readonly ErrorStatus[];

/** The documentation of an endpoint that answers with a function's own response. */
export function callDetail(operationId: string, summary: string, errors: readonly ErrorStatus[]) {
  return {
    operationId,
    summary,
    description:
      "The request body reaches the function as `request.json`, byte for byte, whatever it is (no body as `{}`); one that " +
      "is not JSON by its content type is `request.body` too, and `request.meta.json` tells of the request. " +
      "The answer is `response.json` as the function left it, or `response.body`, with the status and headers of its " +
      "`response.meta.json` where it wrote one. Every call runs in a container of its own.",
    requestBody: { content: { "application/json": { schema: {}, example: { message: "hello-world" } } } },
    responses: {
      ...errorDetails(...errors, ...CALL_ERRORS),
      200: own("The function exited with 0: its `response.json` (`{}` where it wrote nothing).", {
        success: true,
        data: { message: "hello-world" },
      }),
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

function own(description: string, example: object) {
  const header = (text: string, type: "integer" | "string") => ({ description: text, schema: { type } });
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
