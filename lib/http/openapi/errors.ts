import { REASONS, type Reason } from "../../domain/errors.ts";
import { failure } from "../wire/envelope.ts";
import { type ErrorStatus, STATUS_OF } from "../wire/status-of.ts";
import type { JsonObject } from "./schema.ts";
import { PROBLEM_JSON, problemDetails } from "../wire/problem-details.ts";

interface ErrorText {
  /** Its name in the document. */
  readonly name: string;
  readonly description: string;
  readonly reason: Reason;
  readonly message: string;
  /** Headers of this status only, with their descriptions. */
  readonly headers?: Readonly<Record<string, string>>;
}

const LATER = { "Retry-After": "Seconds to wait before the next try." };

const ERRORS = {
  400: {
    name: "BadRequest",
    description: "The request is wrong. The message says how, and what to do.",
    reason: "invalid_request",
    message: 'Unknown field "imgae": did you mean "image"?',
  },
  401: {
    name: "Unauthorized",
    description: "The API key is missing, wrong, revoked or expired.",
    reason: "unauthorized",
    message: 'An API key is needed: send it as "Authorization: Bearer <key>"',
    headers: { "WWW-Authenticate": "How to authenticate: with a bearer token." },
  },
  403: {
    name: "Forbidden",
    description: "The API key lacks the scope, or the request has no key and comes from another site's page.",
    reason: "forbidden",
    message:
      'This needs a key with the scope "deploy" or "admin", but yours has "read": an administrator can make another with POST /v1/keys',
  },
  404: {
    name: "NotFound",
    description: "There is no such path, id or name.",
    reason: "not_found",
    message: 'No function "hello": GET /v1/functions lists them',
  },
  405: {
    name: "MethodNotAllowed",
    description: "The path exists, but not with this method.",
    reason: "method_not_allowed",
    message: "Method GET is not allowed: use POST",
    headers: { Allow: "The methods of this path." },
  },
  408: {
    name: "RequestTimeout",
    description: "The body did not arrive in time.",
    reason: "request_timeout",
    message: "The request body did not arrive within 60 s: send it faster",
  },
  409: {
    name: "Conflict",
    description: "The name or path is taken, or the record is in use or in another state.",
    reason: "conflict",
    message: 'A route with the path "/hello-world" exists already: choose another path, or PATCH that one',
  },
  413: {
    name: "PayloadTooLarge",
    description: "The body is over the limit.",
    reason: "payload_too_large",
    message: "The request body is over the limit of 6291456 bytes: send a smaller one",
  },
  415: {
    name: "UnsupportedMediaType",
    description: "The body has a `Content-Encoding`.",
    reason: "unsupported_encoding",
    message: 'Content-Encoding "gzip" is not supported here: send the body without one',
    headers: { "Accept-Encoding": "`identity`: the only encoding that is read." },
  },
  422: {
    name: "UnprocessableContent",
    description: "The `Idempotency-Key` was used for another request.",
    reason: "idempotency_mismatch",
    message:
      'The Idempotency-Key "order-17" came with another method, path, query or body before: send a new key for a new request',
  },
  421: {
    name: "MisdirectedRequest",
    description: "The `Host` header names another server and the request carries no API key.",
    reason: "misdirected_request",
    message:
      'This server does not answer to the name "example.com" without an API key: use localhost, or add the name to ALLOWED_HOSTS',
  },
  429: {
    name: "TooManyRequests",
    description: "Too many calls, or too many wrong API keys.",
    reason: "too_many_requests",
    message: "Too many calls at once: try again in a moment",
    headers: LATER,
  },
  500: {
    name: "InternalError",
    description: "An error of the server.",
    reason: "internal",
    message: "Internal error: look for this request id in the server's log",
  },
  502: {
    name: "BadGateway",
    description: "The function gave no answer, or its image, its isolation or one of its secrets is not available.",
    reason: "function_failed",
    message: "The function exited with code 1 and wrote no response: see its logs",
  },
  503: {
    name: "ServiceUnavailable",
    description: "The engine is not available, or the server is overloaded.",
    reason: "engine_unavailable",
    message: "The Docker Engine cannot be reached: its socket does not exist. Start it, or point DOCKER_HOST at it.",
    headers: LATER,
  },
  504: {
    name: "GatewayTimeout",
    description: "The function exceeded its timeout and was ended, or did not listen in time.",
    reason: "function_timeout",
    message: 'The function ran past its timeout of 30000 ms and was ended: raise "timeout_ms", or see its logs',
  },
  507: {
    name: "InsufficientStorage",
    description: "The disk of the database is full.",
    reason: "storage_full",
    message: "Cannot write the database: its disk is full: make room there, then try again",
    headers: LATER,
  },
} as const satisfies Record<ErrorStatus, ErrorText>;

/** The invocation id in the examples. */
const REQUEST_ID = "7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55";

/** The header of every answer. */
export const REQUEST_ID_HEADER = { "X-Request-Id": { $ref: "#/components/headers/RequestId" } };

/** Returns `components.responses` of the document: one for each status of an error. */
export function errorComponents(): JsonObject {
  const entries = Object.entries<ErrorText>(ERRORS).map(([status, text]): [string, JsonObject] => {
    const reasons = REASONS.filter((reason) => STATUS_OF[reason] === Number(status)).map((reason) => `\`${reason}\``);
    const headers = Object.entries(text.headers ?? {}).map(([name, description]): [string, JsonObject] => [
      name,
      { description, schema: { type: "string" } },
    ]);
    const response = {
      description: `${text.description} Reason: ${reasons.join(", ")}.`,
      headers: { ...REQUEST_ID_HEADER, ...Object.fromEntries(headers) },
      content: {
        "application/json": {
          schema: { $ref: "#/components/schemas/Error" },
          example: failure(text.reason, text.message, REQUEST_ID),
        },
        [PROBLEM_JSON]: {
          schema: { $ref: "#/components/schemas/ProblemDetails" },
          example: problemDetails(text, Number(status), REQUEST_ID),
        },
      },
    };
    return [text.name, response];
  });
  return Object.fromEntries(entries);
}

/** Returns a reference to the response for an error status. */
export function errorReference(status: ErrorStatus): { $ref: string } {
  return { $ref: `#/components/responses/${ERRORS[status].name}` };
}

/** Returns whether a status has such a response. */
export function isErrorStatus(status: number): status is ErrorStatus {
  return Object.hasOwn(ERRORS, status);
}
