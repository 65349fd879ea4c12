import type { FunctionRequest } from "../../domain/calls/http-message.ts";
import { GATE_VARIABLES_BYTES } from "../../domain/limits.ts";
import { traceVariables } from "../../domain/tracing/trace-context.ts";
import { PAYLOAD_BYTES } from "../gate-protocol/frames.ts";

/** The variables of CGI/1.1 for a request, and those of the function's secrets. */
export interface CgiVariables {
  /** The secrets and the request itself: these replace what the image or the function has under their names. */
  readonly environment: Readonly<Record<string, string>>;
  /** Its headers, and what a function may well set itself; each character is one byte. */
  readonly defaults: Readonly<Record<string, string>>;
  /** The names of those that are left out, as there is no room for them. */
  readonly left_out: readonly string[];
}

/** The part of a path that leads to all routes. */
const ROUTES = "/r";

/** The marks with which the gate keeps a variable: "=" in the middle, and perhaps in front, and a NUL. */
const OVERHEAD_BYTES = 3;

/**
 * Headers without a variable `HTTP_...`: those that have one of their own, and `Proxy`, as many programs take a variable
 * `HTTP_PROXY` for the proxy that they are to use (httpoxy, CVE-2016-5385).
 */
const NOT_AS_HTTP: ReadonlySet<string> = new Set(["content-type", "content-length", "proxy"]);

/**
 * Returns the variables of a request with a body of so many bytes, if that is known (RFC 3875, 4.1). A secret replaces one of its name. What has
 * no room beside the secrets is left out, headers first.
 */
export function cgiVariables(
  request: Pick<FunctionRequest, "method" | "url" | "headers" | "via">,
  bodyLength: number | undefined,
  secrets: Readonly<Record<string, string>>,
): CgiVariables {
  const room = new Room();
  room.keep(secrets);
  return {
    environment: { ...room.taken(requestVariables(request, bodyLength)), ...secrets },
    defaults: room.taken({
      ...serverVariables(request),
      ...traceVariables(request.headers),
      ...headerVariables(request),
    }),
    left_out: room.left_out,
  };
}

function requestVariables(
  { method, url, headers, via }: Pick<FunctionRequest, "method" | "url" | "headers" | "via">,
  bodyLength: number | undefined,
): Readonly<Record<string, string>> {
  const { "content-type": type, "content-length": length } = headers;
  const address = via?.client_address ?? null;
  return {
    GATEWAY_INTERFACE: "CGI/1.1",
    SERVER_PROTOCOL: "HTTP/1.1",
    REQUEST_METHOD: method,
    REQUEST_URI: url,
    QUERY_STRING: via?.query_string ?? "",
    ...pathVariables(via),
    ...(address !== null && { REMOTE_ADDR: address, REMOTE_HOST: address }),
    ...(type !== undefined && { CONTENT_TYPE: type }),
    // Only a request with a body has a length, which may be 0.
    ...(((bodyLength ?? 0) > 0 || length !== undefined) && { CONTENT_LENGTH: String(bodyLength) }),
  };
}

/** Returns the path that leads to the function and the rest of it, decoded; without a route the function is at `/`. */
function pathVariables(via: FunctionRequest["via"]): { readonly SCRIPT_NAME: string; readonly PATH_INFO: string } {
  if (via === null || via.route === null) return { SCRIPT_NAME: "", PATH_INFO: "/" };
  const { host, path, path_rest } = via;
  if (host !== undefined) return { SCRIPT_NAME: "", PATH_INFO: path };
  if (path_rest === null) return { SCRIPT_NAME: ROUTES + path, PATH_INFO: "" };
  const script = path.slice(0, path.length - path_rest.length);
  return script.endsWith("/")
    ? { SCRIPT_NAME: ROUTES + script.slice(0, -1), PATH_INFO: `/${path_rest}` }
    : { SCRIPT_NAME: ROUTES + script, PATH_INFO: "" };
}

/** A name or an address, an IPv6 one in brackets, and a port. */
const HOST = /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?$/;

function serverVariables({ headers }: Pick<FunctionRequest, "headers">): Readonly<Record<string, string>> {
  const [, name = "localhost", port = "80"] = HOST.exec(headers["host"] ?? "") ?? [];
  return {
    SERVER_SOFTWARE: "slipway",
    SERVER_NAME: name,
    SERVER_PORT: port,
    // Without it, a PHP of most distributions refuses to run (cgi.force_redirect).
    REDIRECT_STATUS: "200",
  };
}

/** Two names that differ in "-" and "_" only would be one variable, so those with "_" or anything else than a letter or a digit have none. */
function headerVariables({ headers }: Pick<FunctionRequest, "headers">): Readonly<Record<string, string>> {
  const passing = Object.entries(headers).filter(([name]) => /^[a-z0-9-]+$/.test(name) && !NOT_AS_HTTP.has(name));
  return Object.fromEntries(passing.map(([name, value]) => [`HTTP_${name.toUpperCase().replaceAll("-", "_")}`, value]));
}

/** Counts what the gate keeps of the variables. */
class Room {
  readonly left_out: string[] = [];
  #left = GATE_VARIABLES_BYTES;

  /** Counts variables that are there in any case. */
  keep(variables: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(variables)) this.#left -= sizeOf(name, value);
  }

  /** Returns the variables for which there is room, and that a process can receive at all. */
  taken(variables: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    return Object.fromEntries(Object.entries(variables).filter(([name, value]) => this.#take(name, value)));
  }

  #take(name: string, value: string): boolean {
    const bytes = sizeOf(name, value);
    const fits = bytes <= PAYLOAD_BYTES && bytes <= this.#left && !value.includes("\0");
    if (fits) this.#left -= bytes;
    else this.left_out.push(name);
    return fits;
  }
}

function sizeOf(name: string, value: string): number {
  return name.length + Buffer.byteLength(value) + OVERHEAD_BYTES;
}
