import { Elysia, NotFoundError, ParseError, ValidationError } from "elysia";
import { AppError } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import { failure } from "./envelope.ts";
import type { Watching } from "./idle-timeouts.ts";
import { PROBLEM_JSON, prefersProblem, problemDetails } from "./problem-details.ts";
import { STATUS_OF } from "./status-of.ts";
import { validationMessage } from "./validation-message.ts";

/** The default `Retry-After` of a 429 or 503, in seconds: about the time that a restart of the engine or the server takes. */
const RETRY_AFTER_S = 2;

/** Returns the `X-Request-Id` of an answer, which it makes at the first call. */
export type RequestId = (answer: { readonly headers: Record<string, string | number> }) => string;

/** Headers of every answer below `/r`: a function's page must not act in the origin of `/v1`. */
export const SANDBOX_HEADERS = { "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox" } as const;

/** The facts that the answer to an error depends on, besides the error. */
export interface ErrorContext {
  readonly request_id: string;
  /** The `Accept` of the request: it may prefer RFC 9457 to an envelope. */
  readonly accept: string | null;
  /** The methods of the path, if the request had another one. */
  readonly allow?: readonly string[];
}

/** The errors of some paths in a form of their own: of those that another platform's clients use. */
export interface ErrorForm {
  readonly isFor: (path: string) => boolean;
  readonly response: (error: AppError, context: ErrorContext) => Response;
}

/** Returns the answer to an error, with the headers that go with its status. */
export function errorResponse(error: AppError, { request_id, accept, allow }: ErrorContext): Response {
  const headers = new Headers();
  if (error.reason === "unauthorized") headers.set("WWW-Authenticate", 'Bearer realm="slipway"');
  const status = STATUS_OF[error.reason];
  const retryAfter = error.retry_after_s ?? (status === 503 || status === 429 ? RETRY_AFTER_S : undefined);
  if (retryAfter !== undefined) headers.set("Retry-After", String(retryAfter));
  if (allow) headers.set("Allow", allow.join(", "));
  if (error.reason === "unsupported_encoding") headers.set("Accept-Encoding", "identity");
  // Does not wait for the rest of a slow body.
  if (error.reason === "request_timeout") headers.set("Connection", "close");
  headers.set("Vary", "Accept");
  if (!prefersProblem(accept))
    return Response.json(failure(error.reason, error.message, request_id), { status, headers });
  headers.set("Content-Type", PROBLEM_JSON);
  return Response.json(problemDetails(error, status, request_id), { status, headers });
}

/** Answers errors. A `set` collects headers of an answer besides those of the response. */
export type AnswerError = (
  error: unknown,
  request: Request,
  set: { headers: Record<string, string | number> },
) => Response;

/**
 * Answers every error. `allowed` returns the methods of a path, none for one that does not exist, so that a wrong method
 * is a 405: Elysia only knows "not found". `nowhere` is the message for a path that does not exist. Of `forms`, the first one for
 * the path makes the answer.
 */
export function answeringErrors(options: {
  log: Logger;
  watch: Watching["watch"];
  requestId: RequestId;
  allowed: (path: string) => readonly string[];
  nowhere: string;
  forms?: readonly ErrorForm[];
}): AnswerError {
  return (error, request, set) => {
    options.watch(request);
    const requestId = options.requestId(set);
    const context = { request_id: requestId, accept: request.headers.get("accept") };
    const path = pathOf(request.url);
    const respond = options.forms?.find(({ isFor }) => isFor(path))?.response ?? errorResponse;
    if (path.startsWith("/r/")) Object.assign(set.headers, SANDBOX_HEADERS);
    const lost = error instanceof NotFoundError;
    const allow = lost ? options.allowed(path) : [];
    if (allow.length > 0) {
      const refused = new AppError(
        "method_not_allowed",
        `Method ${request.method} is not allowed: use ${allow.join(" or ")}`,
      );
      return respond(refused, { ...context, allow });
    }
    const shown = lost ? new AppError("not_found", options.nowhere) : error;
    const where = { request_id: requestId, method: request.method, path };
    return respond(shownError(shown, options.log, where), context);
  };
}

/** Gives every error to `answer`. Register it before any route. */
export function errorHandler(answer: (...given: Parameters<AnswerError>) => Response | Promise<Response>) {
  return new Elysia({ name: "errors" }).onError({ as: "global" }, ({ error, request, set }) =>
    answer(error, request, set),
  );
}

/** Makes what answers requests that no handler gets. */
export function refusing(answer: AnswerError): (request: Request, error: unknown) => Response {
  return (request, error) => {
    // Whatever a path was meant to be, its answer must not act in the origin of `/v1`.
    const set: Parameters<AnswerError>[2] = { headers: { ...SANDBOX_HEADERS } };
    const response = answer(error, request, set);
    for (const [name, value] of Object.entries(set.headers)) response.headers.set(name, String(value));
    return response;
  };
}

/** Returns what a client may see of anything that was thrown, and logs all of it. */
export function shownError(
  error: unknown,
  log: Logger,
  request: { readonly request_id: string; readonly method: string; readonly path: string },
): AppError {
  const known = translate(error);
  if (known && known.reason !== "internal") {
    // Not what Elysia threw: its errors contain the whole body, which may hold a secret.
    log.debug("request refused", { ...request, reason: known.reason, error: known });
    return known;
  }
  const shown = error instanceof ValidationError ? validationMessage(error.type, error.validator, error.value) : error;
  log.error("request failed", { ...request, error: shown });
  return known ?? new AppError("internal", "Internal error: look for this request id in the server's log");
}

function translate(error: unknown): AppError | undefined {
  if (error instanceof AppError) return error;
  // The cause may be an error of ours, thrown while the body was read.
  if (error instanceof ParseError) {
    return error.cause instanceof AppError
      ? error.cause
      : new AppError("invalid_request", "Cannot read the request body: send it again");
  }
  if (error instanceof ValidationError && error.type !== "response") {
    return new AppError("invalid_request", validationMessage(error.type, error.validator, error.value));
  }
  return undefined;
}

/** Returns the path of a request's URL. HTTP/1.0 without a Host gives a relative URL. */
export function pathOf(url: string): string {
  const start = url.startsWith("/") ? 0 : url.indexOf("/", url.indexOf("://") + 3);
  if (start === -1) return "/";
  const query = url.indexOf("?", start);
  return query === -1 ? url.slice(start) : url.slice(start, query);
}
