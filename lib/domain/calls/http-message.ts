/** A request to a function, whatever contract the function is spoken to by. */
export interface FunctionRequest {
  readonly method: string;
  /** Path and query, `/r` included if that led to the function: as they were sent, but for characters that Bun percent-encodes. */
  readonly url: string;
  /** By name in lower case, without those that `headers.ts` keeps back. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: MessageBody;
  /** The origin of an HTTP request; null for a call by a schedule or after another function. */
  readonly via: HttpOrigin | null;
  /**
   * True if it asks for a WebSocket: if the function accepts (101), both bodies are what its connection carries then, as bytes. Only
   * the contract `http` knows it.
   */
  readonly upgrade?: true;
}

/** A request whose body has arrived. Stored and recorded requests are of this kind. */
export interface BufferedRequest extends FunctionRequest {
  readonly body: Uint8Array;
}

/** The facts of an HTTP request that a function gets besides the request itself. */
export interface HttpOrigin {
  /** The host of the route, if the request came by one; then its whole path is the function's. Left out of stored requests of other routes. */
  readonly host?: string;
  /** The path after `/r` or at the host, percent-decoded; `/` for `POST /v1/functions/:id/invoke`. */
  readonly path: string;
  /** The rest of the path after a prefix route, without a slash in front; null for any other. */
  readonly path_rest: string | null;
  /** The path of the route, such as `/hello/*`, or its host and `/*`; null for `POST /v1/functions/:id/invoke`. */
  readonly route: string | null;
  /** `raw` if the route says that the body is the event of a function of the contract `lambda`; else left out. */
  readonly event?: "raw";
  /** Every value of each name, decoded. */
  readonly query: Readonly<Record<string, readonly string[]>>;
  /** The query as it was sent, without the `?`. */
  readonly query_string: string;
  /** The address of the client's connection; null if it is not known. */
  readonly client_address: string | null;
  /** True if the client's connection to this server, or to a trusted proxy in front of it, is encrypted; else left out. */
  readonly encrypted?: true;
}

/** A function's answer, whatever contract the function is spoken to by. */
export interface FunctionResponse {
  readonly status: number;
  /** Names in lower case. A name appears again only if the function gave several values. */
  readonly headers: readonly ResponseHeader[];
  readonly body: MessageBody;
}

export type ResponseHeader = readonly [name: string, value: string];

/** A body that has arrived, or one that is still arriving. */
export type MessageBody = Uint8Array | ReadableStream<Uint8Array>;

/** Reads a body to its end. The maker of a stream limits its length. */
export async function bytesOf(body: MessageBody): Promise<Uint8Array> {
  return body instanceof Uint8Array ? body : new Uint8Array(await new Response(body).arrayBuffer());
}

/** The statuses without a body (the null body statuses of fetch). */
export const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

export const JSON_TYPE = "application/json";
export const ANY_BYTES_TYPE = "application/octet-stream";

/** Returns the request for a call that no HTTP request asked for. */
export function plainRequest(body: Uint8Array, contentType = JSON_TYPE): BufferedRequest {
  return { method: "POST", url: "/", headers: { "content-type": contentType }, body, via: null };
}

/** Returns every value of each name of a query, decoded like a form. */
export function parseQuery(query: string): Record<string, string[]> {
  const values = new Map<string, string[]>();
  for (const [name, value] of new URLSearchParams(query)) {
    const known = values.get(name);
    if (known) known.push(value);
    else values.set(name, [value]);
  }
  return Object.fromEntries(values);
}

/** Returns whether a content type says that the body is JSON: `application/json`, or one with the suffix `+json`. */
export function isJsonType(contentType: string | null): boolean {
  const type = (contentType ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  return type === "application/json" || /^[^/\s]+\/[^/\s]+\+json$/.test(type);
}
