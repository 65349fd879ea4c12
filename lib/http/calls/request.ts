import { requestHeaders } from "../../domain/calls/headers.ts";
import {
  type FunctionRequest,
  type HttpOrigin,
  type MessageBody,
  parseQuery,
} from "../../domain/calls/http-message.ts";
import { pathOf } from "../wire/errors.ts";

/** The path that led a request to its function. */
export interface CallPath extends Pick<HttpOrigin, "host" | "path" | "path_rest" | "route" | "event"> {
  /** True if its API key was for this server, so that the function must not see it. */
  readonly keyed: boolean;
  /** Headers that its function gets besides those of the request, whose names they replace. */
  readonly added_headers?: Readonly<Record<string, string>>;
}

/** The client of a request. */
export interface RequestClient {
  /** Null if the connection is gone. */
  readonly address: string | null;
  readonly usesTls: boolean;
}

/** Returns the request that a function is called with. */
export function functionRequest<Body extends MessageBody>(
  request: Request,
  { address: client_address, usesTls }: RequestClient,
  { host, path, path_rest, route, event, keyed, added_headers }: CallPath,
  body: Body,
): FunctionRequest & { readonly body: Body } {
  const query = queryOf(request.url);
  const headers = requestHeaders(request.headers, keyed);
  return {
    method: request.method,
    url: pathOf(request.url) + (query === "" ? "" : `?${query}`),
    headers: added_headers === undefined ? headers : { ...headers, ...added_headers },
    body,
    via: {
      ...(host !== undefined && { host }),
      path,
      path_rest,
      route,
      ...(event !== undefined && { event }),
      query: parseQuery(query),
      query_string: query,
      client_address,
      ...(usesTls && { encrypted: true }),
    },
  };
}

function queryOf(url: string): string {
  const start = url.indexOf("?");
  return start === -1 ? "" : url.slice(start + 1);
}
