import { forwardedTarget } from "../../domain/calls/forwarded-target.ts";
import { spanIdOf, traceIdOf } from "../../domain/tracing/trace-context.ts";
import type { FunctionRequest } from "../../domain/calls/http-message.ts";
import type { RequestHead } from "../http1/request-head.ts";

/** The end of the request's body, as its head declares it; `raw` is what follows a handshake. */
export type BodyCoding = "none" | "length" | "chunked" | "raw";

/** A request as a function of the contract `http` gets it. */
export interface HttpRequest {
  readonly head: RequestHead;
  readonly coding: BodyCoding;
  /** True if the function has a host of its own, so that its answers may speak for the whole origin. */
  readonly own_origin?: boolean;
  /** True if the connection may serve another request behind this one. */
  readonly keep_alive?: boolean;
}

/** Headers that the server writes itself, or that it has obeyed already. */
const OWN: ReadonlySet<string> = new Set([
  "content-length",
  "expect",
  "forwarded",
  "host",
  "x-real-ip",
  "x-request-id",
]);
const FORWARDED = "x-forwarded-";
const CLOSE = [["Connection", "close"]] as const;
const UPGRADE = [
  ["Connection", "Upgrade"],
  ["Upgrade", "websocket"],
] as const;
/** The schemes of credentials that a server may take for those of a whole connection (RFC 4559, 6). */
const NAMES_CONNECTION = /^(?:negotiate|ntlm)\b/i;
/** The methods whose requests have a length even if their body is empty (RFC 9110, 8.6). */
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/**
 * Returns the head of a request: the caller's own headers, `Host` among them, and what a server behind a proxy is told. The
 * connection is for this call alone, unless callers share the instance (`shared`) and there is no body on either side: a server that
 * does not read a body would take it for the next caller's request, and one that answers HEAD with a body gives that to the next caller.
 */
export function httpRequest(id: string, request: FunctionRequest, shared = false): HttpRequest {
  const { method, headers, body, via } = request;
  const { target, prefix } = forwardedTarget(request);
  const host = headers["host"] ?? "localhost";
  const passing = Object.entries(headers).filter(([name]) => isCallers(name));
  const upgrade = request.upgrade === true;
  // The bytes after a handshake are not a body.
  const length = upgrade ? undefined : bodyLength(request);
  const coding = length === undefined ? "none" : length === null ? "chunked" : "length";
  const isEmpty = body instanceof Uint8Array && body.length === 0;
  const isBare = isEmpty && method !== "HEAD";
  const keep_alive = shared && !upgrade && isBare && !NAMES_CONNECTION.test(headers["authorization"] ?? "");
  const proto = via?.encrypted === true ? "https" : "http";
  const client = via?.client_address ?? null;
  return {
    head: {
      method,
      target,
      headers: [
        ["Host", host],
        ...passing,
        ...(typeof length === "number" ? [["Content-Length", String(length)] as const] : []),
        ...(coding === "chunked" ? [["Transfer-Encoding", "chunked"] as const] : []),
        ["Forwarded", forwarded(client, host, proto)],
        ...(client === null ? [] : [["X-Forwarded-For", client] as const]),
        ["X-Forwarded-Host", host],
        ["X-Forwarded-Proto", proto],
        ...(prefix === "" ? [] : [["X-Forwarded-Prefix", prefix] as const]),
        ["X-Request-Id", id],
        ...(headers["traceparent"] === undefined ? [["traceparent", newTrace(id)] as const] : []),
        ...(upgrade ? UPGRADE : keep_alive ? [] : CLOSE),
      ],
    },
    own_origin: via?.host !== undefined,
    keep_alive,
    coding: upgrade ? "raw" : isEmpty ? "none" : coding,
  };
}

/**
 * Returns whether a header is the caller's to write. With underscores it is the same header to servers that map both to the
 * name of one variable, as WSGI and CGI do; and some of those take `Script-Name` for the path that they are mounted at.
 */
function isCallers(written: string): boolean {
  const name = written.replaceAll("_", "-");
  return !OWN.has(name) && !name.startsWith(FORWARDED) && name !== "script-name";
}

/** Returns the length of a request's body; null if it is not known, and undefined if there is no body. */
function bodyLength({ method, headers, body }: FunctionRequest): number | null | undefined {
  if (body instanceof Uint8Array) {
    return body.length > 0 || WITH_BODY.has(method) || headers["content-length"] !== undefined
      ? body.length
      : undefined;
  }
  const given = headers["content-length"];
  return given !== undefined && /^\d{1,15}$/.test(given) ? Number(given) : null;
}

/** Returns the one element of `Forwarded` (RFC 7239) that this server adds. */
function forwarded(client: string | null, host: string, proto: string): string {
  const node = client === null ? "unknown" : client.includes(":") ? `"[${client}]"` : client;
  return `for=${node};host="${host.replaceAll(/["\\]/g, "\\$&")}";proto=${proto}`;
}

/** Returns a trace that begins with this call, and has its id; nobody records it (flags 00). */
function newTrace(id: string): string {
  return `00-${traceIdOf(id)}-${spanIdOf(id)}-00`;
}
