import { AppError } from "../../domain/errors.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { PLAIN_RESPONSE } from "../../domain/calls/response-meta.ts";
import type { Answer } from "../../services/calls/invocations.ts";
import { errorResponse, SANDBOX_HEADERS } from "../wire/errors.ts";

/** Statuses that no body goes with (fetch's null body statuses). */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * The HTTP answer to a call: the function's own, or an envelope (a problem document for those who `accept` that) which
 * says why there is none. Bun leaves the body of a HEAD out.
 */
export function answerResponse(answer: Answer, accept: string | null, requestId = answer.invocation.id): Response {
  const response = answer.response === null ? refusal(answer, accept, requestId) : ownResponse(answer, answer.response);
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

function ownResponse({ invocation, meta, body_file }: Answer, bytes: Uint8Array): Response {
  const said = meta ?? PLAIN_RESPONSE;
  // What a function says of its answer counts where it succeeded; otherwise its exit code has the last word.
  const status = invocation.status === "succeeded" ? said.status : 500;
  const empty = WITHOUT_BODY.has(status);
  const headers = ownHeaders(said.headers);
  if (!empty && !headers.has("content-type")) {
    headers.set("Content-Type", body_file ? "application/octet-stream" : "application/json");
  }
  return new Response(empty ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), {
    status,
    headers,
  });
}

/** A function's policy comes on top of ours: a browser obeys all of them. */
function ownHeaders(said: readonly (readonly [string, string])[]): Headers {
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
