import { JSON_TYPE } from "../../../domain/calls/http-message.ts";
import type { FunctionRequest, FunctionResponse } from "../../../domain/calls/http-message.ts";
import { FUNCTION_ERROR_HEADERS } from "../../../domain/lambda/function-error.ts";
import type { FunctionUrlHead, Malformed } from "../../../domain/lambda/function-url-response.ts";
import type { StreamPrelude } from "../../../domain/lambda/stream-prelude.ts";
import { rawEvent } from "../../../domain/lambda/raw-event.ts";

/** The answer of a function to one event, as its runtime gives it: it has no status. */
export type LambdaAnswer =
  | { readonly kind: "payload"; readonly payload: Uint8Array }
  /** The body is still arriving. The type is the runtime's own; the head is there if the form has a prelude. */
  | {
      readonly kind: "stream";
      readonly payload: ReadableStream<Uint8Array>;
      readonly content_type: string | null;
      readonly head?: FunctionUrlHead;
    }
  /** The function has failed: a JSON document with `errorType` and `errorMessage`, as its runtime sent it. */
  | { readonly kind: "error"; readonly payload: Uint8Array; readonly error_type: string };

/** The caller's answer, and lines for the call's log about what is left out of it. */
export interface FormedResponse extends FunctionResponse {
  readonly dropped?: readonly string[];
}

/** The way from a request to an event, and from the answer to a response. Another one may make events of HTTP requests. */
export interface EventForm {
  /** Returns the event for a request whose body has arrived. Throws `invalid_request` if none can be made of it. */
  readonly event: (request: FunctionRequest, body: Uint8Array) => Uint8Array;
  /** Returns what the caller gets, or why that cannot be sent. Called at the end of an answer, but at the beginning of one that streams. */
  readonly response: (answer: LambdaAnswer) => FormedResponse | Malformed;
  /** Returns what reads the head in front of a body that streams, if there is one. */
  readonly prelude?: (content_type: string | null) => StreamPrelude | undefined;
}

/** The body of the request is the event, byte for byte, and so is the answer. */
export const RAW_EVENT = {
  event: (_request: FunctionRequest, body: Uint8Array) => rawEvent(body),
  response(answer: LambdaAnswer): FunctionResponse {
    if (answer.kind === "error") return { status: 500, headers: FUNCTION_ERROR_HEADERS, body: answer.payload };
    return { status: 200, headers: [["content-type", typeOf(answer)]], body: answer.payload };
  },
} satisfies EventForm;

/** Runtimes name a type only if they stream: others say what their HTTP client says of any form. */
function typeOf(answer: LambdaAnswer): string {
  return answer.kind === "stream" ? (answer.content_type ?? "application/octet-stream") : JSON_TYPE;
}
