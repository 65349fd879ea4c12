import { AppError } from "../../domain/errors.ts";
import { publicMessage } from "../../domain/calls/public-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { isSessionCookie } from "../../domain/calls/headers.ts";
import { type FunctionResponse, type ResponseHeader, WITHOUT_BODY } from "../../domain/calls/http-message.ts";
import type { Answer } from "../../services/calls/call.ts";
import { isEventStream, withOpening } from "./event-opening.ts";
import { errorResponse, SANDBOX_HEADERS } from "../wire/errors.ts";

/** The client that an answer is for. */
export interface Reader {
  /** The `Accept` of its request. */
  readonly accept: string | null;
  /** The `X-Request-Id` of its answer, unless that is the invocation's id. */
  readonly request_id?: string;
  /** The method of its request; a GET if it does not matter. */
  readonly method?: string;
  /** True if it may read the invocation's record. Any other client gets a sentence that says nothing about the function. */
  readonly may_read: boolean;
  /** True if the function has an origin of its own: then only its own headers say what a browser may do with its answer. */
  readonly own_origin?: boolean;
}

/**
 * Returns the HTTP answer to a call: the function's own, or an envelope (a problem document for callers that `accept` one)
 * that says why there is none. Bun leaves out the body of a HEAD.
 */
export function answerResponse(
  answer: Answer,
  { accept, method, request_id, may_read, own_origin = false }: Reader,
): Response {
  const response =
    answer.response === null
      ? refusal(answer, accept, request_id ?? answer.invocation.id, may_read)
      : ownResponse(answer.response, { isHead: method === "HEAD", ownOrigin: own_origin });
  const { invocation } = answer;
  if (invocation.exit_code !== null) response.headers.set("X-Function-Exit-Code", String(invocation.exit_code));
  response.headers.set("Server-Timing", serverTiming(invocation));
  return response;
}

function refusal(
  { invocation, retry_after_s }: Answer,
  accept: string | null,
  requestId: string,
  mayRead: boolean,
): Response {
  const reason = invocation.reason ?? "internal";
  const message = invocation.message ?? "The function gave no answer: see its logs";
  const details = retry_after_s === undefined ? {} : { retry_after_s };
  return errorResponse(new AppError(reason, mayRead ? message : publicMessage(reason, message), details), {
    request_id: requestId,
    accept,
  });
}

/** A function that was asked for the head alone says how long the body would be; any other length is that of the body. */
function ownResponse(
  response: FunctionResponse,
  { isHead, ownOrigin }: { isHead: boolean; ownOrigin: boolean },
): Response {
  const { status, body } = response;
  const length = isHead ? response.headers.find(([name]) => name === "content-length") : undefined;
  const isBare = WITHOUT_BODY.has(status) || length !== undefined;
  if (isBare && body instanceof ReadableStream) void body.cancel().catch(() => undefined);
  const headers = ownHeaders(response.headers, ownOrigin);
  if (length !== undefined) headers.set(...length);
  return new Response(isBare ? null : bodyOf(response), { status, headers });
}

function bodyOf(response: FunctionResponse): Bun.BodyInit {
  const { body } = response;
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return isEventStream(response) ? withOpening(body) : body;
}

/** Adds the function's headers to ours, if there are any: of several policies a browser obeys all. */
function ownHeaders(said: readonly ResponseHeader[], ownOrigin: boolean): Headers {
  const headers = new Headers(ownOrigin ? {} : SANDBOX_HEADERS);
  for (const [name, value] of said) {
    // A login that a function gives its visitors would be somebody else's.
    if (name === "content-length" || (name === "set-cookie" && isSessionCookie(value))) continue;
    headers.append(name, value);
  }
  return headers;
}

/** A boot is a part of the wait for an instance that was started for the call; `run` goes to the head of an answer that streams. */
function serverTiming({ queue_ms, start_ms, boot_ms, run_ms, start }: Invocation): string {
  const timings = [
    ["queue", queue_ms],
    ["start", start_ms],
    ["boot", start === "cold" ? boot_ms : null],
    ["run", run_ms],
  ] as const;
  return timings
    .filter(([, duration]) => duration !== null)
    .map(
      ([name, duration]) => `${name};dur=${duration?.toFixed(2)}${name === "start" && start ? `;desc=${start}` : ""}`,
    )
    .join(", ");
}
