import type { FunctionRequest, HttpOrigin } from "../../domain/calls/http-message.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { timestamp } from "../../domain/types.ts";

/** The facts of a call that are known only when its function is about to start. */
interface RunContext {
  readonly request_id: string;
  readonly function: Pick<Function, "id" | "name" | "version" | "timeout_ms">;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Returns the bytes of `request.meta.json`. */
export function encodeRequestMeta(
  { method, url, headers }: Omit<FunctionRequest, "body" | "via">,
  { path, path_rest, route, query, query_string, client_address }: HttpOrigin,
  { request_id, function: { id, name, version, timeout_ms }, now }: RunContext,
): Uint8Array {
  // Functions read this with tools that are not JSON parsers, too: the order of the fields is part of the contract.
  const meta = {
    method,
    url,
    path,
    path_rest,
    route,
    query,
    query_string,
    headers,
    client_address,
    request_id,
    function: { id, name, version },
    timeout_ms,
    deadline: timestamp(now + timeout_ms),
  };
  return Buffer.from(JSON.stringify(meta));
}
