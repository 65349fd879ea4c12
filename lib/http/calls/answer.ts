import { AppError } from "../../domain/errors.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { type FunctionResponse, type ResponseHeader, WITHOUT_BODY } from "../../domain/calls/http-message.ts";
import type { Answer } from "../../services/calls/invocations.ts";
import { errorResponse, SANDBOX_HEADERS } from "../wire/errors.ts";

/**
 * Returns the HTTP answer to a call: the function's own, or an envelope (a problem document for callers that `accept` one)
 * that says why there is none. Bun leaves out the body of a HEAD.
 */
export function answerResponse(answer: Answer, accept: string | null, requestId = answer.invocation.id): Response {
  const response = answer.response === null ? refusal(answer, accept, requestId) : ownResponse(answer.response);
  const { invocation } = answer;
  if (invocation.exit_code !== null) response.headers.set("X-Function-Exit-Code", String(invocation.exit_code));
  response.headers.set("Server-Timing", serverTiming(invocation));
  return response;
}

function refusal({ invocation, retry_after_s }: Answer, accept: string | null, requestId: string): Response {
  const { reason, message } = invocation;
  const details = retry_after_s === undefined ? {} : { retry_after_s };
  return errorResponse(
    new AppError(reason ?? "internal", message ?? "The function gave no answer: see its logs", details),
    { request_id: requestId, accept },
  );
}

function ownResponse({ status, headers, body }: FunctionResponse): Response {
  return new Response(WITHOUT_BODY.has(status) ? null : bodyOf(body), { status, headers: ownHeaders(headers) });
}

function bodyOf(body: FunctionResponse["body"]): Bun.BodyInit {
  return body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : body;
}

/** Adds the function's headers to ours: of several policies a browser obeys all. */
function ownHeaders(said: readonly ResponseHeader[]): Headers {
  const headers = new Headers(SANDBOX_HEADERS);
  for (const [name, value] of said) headers.append(name, value);
  return headers;
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
