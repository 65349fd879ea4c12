import type { Function } from "../functions/functions.ts";
import { timestamp } from "../types.ts";

/** An HTTP request as its function is told of it, beside the body; `request.meta.json` begins with these fields. */
export interface RequestMessage {
  readonly method: string;
  /** Path and query as they were sent, `/r` included. */
  readonly url: string;
  /** What follows `/r`, percent-decoded; `/` for `POST /v1/functions/:id/invoke`. */
  readonly path: string;
  /** What a prefix route left of the path, without a slash in front; null for any other. */
  readonly path_rest: string | null;
  /** The path of the route, such as `/hello/*`; null for `POST /v1/functions/:id/invoke`. */
  readonly route: string | null;
  /** Every value of each name, decoded. */
  readonly query: Readonly<Record<string, readonly string[]>>;
  /** As it was sent, without the `?`. */
  readonly query_string: string;
  /** In lower case, without those that `domain/headers.ts` keeps back. */
  readonly headers: Readonly<Record<string, string>>;
  /** Where the connection came from; null where that is not known. */
  readonly client_address: string | null;
}

/** What is known of a call only when its function is about to start. */
export interface RunContext {
  readonly request_id: string;
  readonly function: Pick<Function, "id" | "name" | "version" | "timeout_ms">;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** The bytes of `request.meta.json`. */
export function encodeRequestMeta(message: RequestMessage, run: RunContext): Uint8Array {
  const { id, name, version, timeout_ms } = run.function;
  return Buffer.from(
    JSON.stringify({
      ...message,
      request_id: run.request_id,
      function: { id, name, version },
      timeout_ms,
      deadline: timestamp(run.now + timeout_ms),
    }),
  );
}

/** Every value of each name of a query, decoded as a form is. */
export function parseQuery(query: string): Record<string, string[]> {
  const values = new Map<string, string[]>();
  for (const [name, value] of new URLSearchParams(query)) {
    const known = values.get(name);
    if (known) known.push(value);
    else values.set(name, [value]);
  }
  return Object.fromEntries(values);
}

/** Whether a content type says that the body is JSON: `application/json`, or one with the suffix `+json`. */
export function isJsonType(contentType: string | null): boolean {
  const type = (contentType ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  return type === "application/json" || /^[^/\s]+\/[^/\s]+\+json$/.test(type);
}
