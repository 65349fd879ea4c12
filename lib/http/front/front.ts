import type { ServerWebSocket } from "bun";
import { rawPatterns, ROOT_PATTERN } from "./raw-patterns.ts";
import type { Handler, Serving } from "./serving.ts";

/** Hosts that no function can have for its own: addresses, and names of this machine. */
const NO_FUNCTIONS_HOST = /^(?:[\w.-]+\.)?localhost(?::\d+)?$|^\d+\.\d+\.\d+\.\d+(?::\d+)?$|^\[[\da-f:.]+\](?::\d+)?$/i;

/**
 * Returns what a port serves until its app is put together, which takes longer than everything else at a start: that the server is
 * up. Every other request is kept, and answered by the app, `whole`, as if it had come later. (But for one whose path has percent
 * signs that no valid code follows: it is refused as malformed, and not as the name of something that does not exist.)
 */
export function frontOf(whole: () => Promise<Serving>, requestId: () => string): Serving {
  const failed = () => notStarted(requestId());
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
function notStarted(request_id: string): Response {
  const message = "The server could not start: look into its log";
  const body = { success: false, message, data: null, reason: "internal", request_id };
  return Response.json(body, { status: 500, headers: { "x-request-id": request_id } });
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
