import type { Server } from "bun";
import { requestHeaders } from "../../domain/calls/headers.ts";
import { isJsonType, parseQuery, type RequestMessage } from "../../domain/calls/http-message.ts";
import { clientAddress } from "../access/client-address.ts";
import { pathOf } from "../wire/errors.ts";

/** How a request was led to its function. */
export interface CallPath extends Pick<RequestMessage, "path" | "path_rest" | "route"> {
  /** Whether its API key was for this server, and so is none of the function's business. */
  readonly keyed: boolean;
}

/** What a function is told of the request that it was called by. */
export function callMessage(request: Request, server: Server<unknown> | null, call: CallPath): RequestMessage {
  const { path, path_rest, route, keyed } = call;
  const query = queryOf(request.url);
  return {
    method: request.method,
    url: pathOf(request.url) + (query === "" ? "" : `?${query}`),
    path,
    path_rest,
    route,
    query: parseQuery(query),
    query_string: query,
    headers: requestHeaders(request.headers, keyed),
    client_address: clientAddress(request, server),
  };
}

/** Whether the function finds the body as `request.body` too: where its sender does not say that it is JSON. */
export function wantsBodyFile({ headers }: Request, body: Uint8Array): boolean {
  const type = headers.get("content-type");
  return type === null ? body.length > 0 : !isJsonType(type);
}

function queryOf(url: string): string {
  const start = url.indexOf("?");
  return start === -1 ? "" : url.slice(start + 1);
}
