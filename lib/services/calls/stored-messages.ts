import type { RequestMessage } from "../../domain/calls/http-message.ts";
import { PLAIN_RESPONSE, type ResponseMeta } from "../../domain/calls/response-meta.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";

/** What is kept of a request beside its body. */
export interface StoredRequest {
  /** Null where it was no HTTP request. */
  readonly message: RequestMessage | null;
  /** Whether the function finds the body as `request.body` too. */
  readonly body_file: boolean;
}

/** What is kept of an answer beside its body. */
export interface StoredResponse {
  readonly meta: ResponseMeta | null;
  /** Whether the body may be any bytes; otherwise it is JSON. */
  readonly body_file: boolean;
}

/** The request's part as its column. */
export function storedRequest({ message, body_file }: StoredRequest): string {
  return JSON.stringify({ message, body_file });
}

/** A request's part as its column has it. */
export function readStoredRequest(text: string | null): StoredRequest {
  return text === null ? { message: null, body_file: false } : (JSON.parse(text) as StoredRequest); // `storedRequest` wrote it
}

/** The answer's part as its column. */
export function storedResponse({ meta, body_file }: Pick<Outcome, "meta" | "body_file">): string {
  return JSON.stringify({ meta, body_file });
}

/** An answer's part as its column has it. */
export function readStoredResponse(text: string | null): StoredResponse {
  return text === null ? { meta: PLAIN_RESPONSE, body_file: false } : (JSON.parse(text) as StoredResponse); // `storedResponse` wrote it
}
