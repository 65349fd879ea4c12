import type { ServerWebSocket } from "bun";
import { AppError } from "../../domain/errors.ts";
import { rawPatterns, ROOT_PATTERN } from "./raw-patterns.ts";
import type { Handler, Serving } from "./serving.ts";

/** Hosts that no function can have for its own: addresses, and names of this machine. */
export const NO_FUNCTIONS_HOST =
  /^(?:[\w.-]+\.)?localhost(?::\d+)?$|^\d+\.\d+\.\d+\.\d+(?::\d+)?$|^\[[\da-f:.]+\](?::\d+)?$/i;

/**
 * Returns what a port serves until its app is put together, which takes longer than everything else at a start: that the server is
 * up. Every other request is kept, and answered by the app, `whole`, as if it had come later. (But for one whose path has percent
 * signs that no valid code follows: it is refused as malformed, and not as the name of something that does not exist.)
 */
export function frontOf(whole: () => Promise<Serving>, requestId: () => string): Serving {
  const failed = (error: unknown) => notStarted(error, requestId());
  const later = (request: Request) => whole().then(({ fetch }) => fetch(request), failed);
  const laterAt =
    (pattern: string): Handler =>
    (request, server) =>
      whole().then(({ routes, fetch }) => {
        const handler = routes[pattern];
        return typeof handler === "function" ? handler(request, server) : fetch(request);
      }, failed);
  const health: Handler = (request) =>
    NO_FUNCTIONS_HOST.test(request.headers.get("host") ?? "")
      ? Response.json({ status: "ok" }, { headers: { "x-request-id": requestId() } })
      : later(request);
  const held = [ROOT_PATTERN, ...rawPatterns().map(({ pattern }) => pattern)];
  return {
    routes: { ...Object.fromEntries(held.map((pattern) => [pattern, laterAt(pattern)])), "/healthz": { GET: health } },
    fetch: later,
  };
}

/**
 * Returns the answer of a server whose app could not be put together, and which ends. Its log says why. Written out, as the
 * module of the envelope loads TypeBox.
 */
function notStarted(error: unknown, request_id: string): Response {
  const headers = { "x-request-id": request_id };
  const body = { success: false, message: "The server could not start: look into its log", data: null, request_id };
  if (!(error instanceof AppError && error.reason === "database_unavailable")) {
    return Response.json({ ...body, reason: "internal" }, { status: 500, headers });
  }
  // Others of the same database may be there already, and so may this one when it has been started again.
  const { reason, message, retry_after_s = 1 } = error;
  return Response.json(
    { ...body, message: `The server could not start: ${message}`, reason },
    { status: 503, headers: { ...headers, "Retry-After": String(retry_after_s) } },
  );
}

/** The calls that a WebSocket makes, on the data that it was given at its upgrade. */
interface SocketEvents {
  readonly open?: (socket: ServerWebSocket<unknown>) => unknown;
  readonly message?: (socket: ServerWebSocket<unknown>, message: string | Uint8Array) => unknown;
  readonly drain?: () => unknown;
  readonly close?: (socket: ServerWebSocket<unknown>, code: number, reason: string) => unknown;
}

/** The listener of all WebSockets of a port. */
export const SOCKETS = {
  open: (socket: ServerWebSocket<SocketEvents>) => void socket.data.open?.(socket),
  message: (socket: ServerWebSocket<SocketEvents>, message: string | Uint8Array) =>
    void socket.data.message?.(socket, message),
  drain: (socket: ServerWebSocket<SocketEvents>) => void socket.data.drain?.(),
  close: (socket: ServerWebSocket<SocketEvents>, code: number, reason: string) =>
    void socket.data.close?.(socket, code, reason),
} as const;
