import { responseHeaderProblem, storableHeaders } from "../../domain/calls/headers.ts";
import {
  ANY_BYTES_TYPE,
  type BufferedRequest,
  type FunctionRequest,
  type FunctionResponse,
  type HttpOrigin,
  isJsonType,
  JSON_TYPE,
  plainRequest,
  type ResponseHeader,
} from "../../domain/calls/http-message.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { headOf } from "../../runner/contracts/files.ts";
import { PLAIN_RESPONSE, type ResponseMeta } from "../../runner/contracts/response-meta.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";
import type { Payload } from "../../store/records.ts";
import type { PassingBodies } from "./bodies/passing-bodies.ts";

/** The part of a request that is stored besides its body. */
type StoredRequest = Omit<FunctionRequest, "body">;

/** The part of an answer that is stored besides its body. */
type StoredResponse = Omit<FunctionResponse, "body">;

/** Both parts as they were stored before requests and answers were the same for all contracts: in the terms of `files`. */
interface OldRequest {
  readonly message: (Omit<StoredRequest, "via"> & HttpOrigin) | null;
  readonly body_file: boolean;
}
interface OldResponse {
  readonly meta: ResponseMeta | null;
  readonly body_file: boolean;
}

/** Returns the column for a request to a function; without its caller's credentials, unless the function asks for them. */
export function storedRequest(
  { method, url, headers, via }: FunctionRequest,
  { store_credentials }: Pick<Function, "store_credentials">,
): string {
  const kept = store_credentials ? headers : storableHeaders(headers);
  return JSON.stringify({ method, url, headers: kept, via } satisfies StoredRequest);
}

/** Returns a request by its columns; without the first one it is JSON that no HTTP request brought. */
export function readStoredRequest(text: string | null, body: Uint8Array): BufferedRequest {
  if (text === null) return plainRequest(body);
  const stored = JSON.parse(text) as StoredRequest | OldRequest; // `storedRequest` wrote it, or that of an older version
  if (!("message" in stored)) return { ...stored, body };
  if (stored.message === null) return plainRequest(body, stored.body_file ? ANY_BYTES_TYPE : JSON_TYPE);
  const { method, url, headers, ...via } = stored.message;
  return { method, url, headers, body, via };
}

/** Returns the column for an answer. */
export function storedResponse({ status, headers }: StoredResponse): string {
  return JSON.stringify({ status, headers } satisfies StoredResponse);
}

/**
 * Returns status and headers of an answer by its column. In an old one the status also depends on how the call ended. Only at
 * the function's own host (`ownOrigin`) the headers may speak for a whole origin.
 */
export function readStoredResponse(
  text: string | null,
  { succeeded, ownOrigin = false }: { readonly succeeded: boolean; readonly ownOrigin?: boolean },
): StoredResponse {
  const mayPass = ([name]: ResponseHeader) => responseHeaderProblem(name, ownOrigin) === undefined;
  if (text === null) return headOf(PLAIN_RESPONSE, false, succeeded);
  const stored = JSON.parse(text) as StoredResponse | OldResponse; // `storedResponse` wrote it, or that of an older version
  // An older version let headers pass that are left out now.
  if (!("body_file" in stored)) return { ...stored, headers: stored.headers.filter(mayPass) };
  const { status, headers } = stored.meta ?? PLAIN_RESPONSE;
  return headOf({ status, headers: headers.filter(mayPass) }, stored.body_file, succeeded);
}

/** Returns the request column for a call whose body is another call's answer, by the column of that answer. */
export function requestAfter(response: string | null): string | null {
  const { headers } = readStoredResponse(response, { succeeded: true });
  const type = headers.find(([name]) => name === "content-type")?.[1] ?? JSON_TYPE;
  return isJsonType(type) ? null : storedRequest(plainRequest(new Uint8Array(0), type), { store_credentials: true });
}

/** A synchronous call whose bodies may have passed through. */
interface SyncCall {
  readonly id: string;
  readonly request: FunctionRequest;
  readonly target: { readonly function: Function };
  readonly passing?: Pick<PassingBodies, "request" | "response">;
}

/**
 * Returns what is kept of a synchronous call if its function says so; nothing if its request did not arrive as a whole. An answer
 * that was too long, or did not come to its end, is not kept.
 */
export function payloadOf({ id, request, target, passing }: SyncCall, { response }: Outcome): Payload | undefined {
  const asked = request.body instanceof Uint8Array ? request.body : (passing?.request ?? null);
  if (asked === null) return undefined;
  const kept = response !== null && response.body instanceof Uint8Array ? response.body : (passing?.response ?? null);
  return {
    invocation_id: id,
    request: asked,
    request_meta: storedRequest(request, target.function),
    response: kept,
    response_meta: response === null || kept === null ? null : storedResponse(response),
  };
}
