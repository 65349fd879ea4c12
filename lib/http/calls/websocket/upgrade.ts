import type { Server, ServerWebSocket } from "bun";
import type { Clock } from "../../../clock.ts";
import { onAbort } from "../../../domain/concurrency.ts";
import { isSessionCookie } from "../../../domain/calls/headers.ts";
import { AppError } from "../../../domain/errors.ts";
import type { FunctionRequest, FunctionResponse } from "../../../domain/calls/http-message.ts";
import type { Answer, InvokeCall } from "../../../services/calls/call.ts";
import type { InvocationService } from "../../../services/calls/invocations.ts";
import type { BodyMemory } from "../body-memory.ts";
import { WebSocketRelay } from "./relay.ts";

interface UpgradeDeps {
  readonly invocations: Pick<InvocationService, "invoke">;
  readonly bodyMemory: Pick<BodyMemory, "hold">;
  readonly clock: Clock;
  readonly server: () => Server<unknown> | null;
}

/** Headers of a handshake that each of the two connections has its own of. No extension is agreed on: frames are not compressed. */
const OWN: ReadonlySet<string> = new Set(["sec-websocket-accept", "sec-websocket-extensions", "content-length"]);
/** RFC 6455, 1.3. */
const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Returns whether a request asks for a WebSocket. */
export function asksForWebSocket({ method, headers }: Request): boolean {
  return method === "GET" && headers.get("upgrade")?.toLowerCase() === "websocket" && headers.has("sec-websocket-key");
}

/**
 * Makes a call whose two bodies are the frames of a WebSocket. The function answers first: if it accepts, the client's
 * connection becomes one, too, and what is returned says nothing to anyone. Any other answer is returned.
 */
export async function callByWebSocket(
  { invocations, bodyMemory, clock, server }: UpgradeDeps,
  request: Request,
  call: Omit<InvokeCall, "signal" | "request"> & { readonly request: Omit<FunctionRequest, "body"> },
): Promise<Answer | "upgraded"> {
  const relay = new WebSocketRelay({ clock, hold: (bytes) => bodyMemory.hold(bytes) });
  const { "sec-websocket-extensions": _, ...headers } = call.request.headers;
  // Not the signal of the request: that is over with the upgrade.
  const abort = new AbortController();
  const detach = onAbort(request.signal, () => abort.abort(request.signal.reason));
  const asked = { ...call.request, headers, body: relay.upload, upgrade: true } as const;
  const answer = await invocations.invoke({ ...call, request: asked, signal: abort.signal });
  const { response } = answer;
  if (response === null || response.status !== 101 || response.body instanceof Uint8Array) return answer;
  detach();
  const { body } = response;
  const refuse = (error: AppError, why: unknown = error): never => {
    leave(body, why);
    throw error;
  };
  if (headerOf(response, "sec-websocket-accept") !== acceptOf(headers["sec-websocket-key"] ?? "")) {
    refuse(
      new AppError(
        "invalid_response",
        "The function's WebSocket handshake has a wrong Sec-WebSocket-Accept: see its logs",
      ),
    );
  }
  const said = new Headers({ "X-Request-Id": call.id });
  for (const [name, value] of response.headers) {
    if (!OWN.has(name) && !(name === "set-cookie" && isSessionCookie(value))) said.append(name, value);
  }
  // Elysia's listener calls these.
  const data = {
    open: (socket: ServerWebSocket<unknown>) => relay.open(socket, body),
    message: (socket: ServerWebSocket<unknown>, message: string | Uint8Array) => relay.message(socket, message),
    drain: () => relay.drain(),
    close: (_socket: ServerWebSocket<unknown>, code: number, reason: string) => relay.close(code, reason),
  };
  if (server()?.upgrade(request, { headers: said, data }) === true) return "upgraded";
  return refuse(
    new AppError(
      "invalid_request",
      "The WebSocket handshake is incomplete: send Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key",
    ),
    // Its client's fault, and not the function's.
    new DOMException("The client cannot have a WebSocket", "AbortError"),
  );
}

function leave(body: ReadableStream<Uint8Array>, why: unknown): void {
  void body.cancel(why).catch(() => undefined);
}

function headerOf({ headers }: FunctionResponse, name: string): string | undefined {
  return headers.find(([one]) => one === name)?.[1];
}

function acceptOf(key: string): string {
  return new Bun.CryptoHasher("sha1").update(key + ACCEPT_SUFFIX).digest("base64");
}
