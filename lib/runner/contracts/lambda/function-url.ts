import type { FunctionRequest } from "../../../domain/calls/http-message.ts";
import { urlFailure } from "../../../domain/lambda/function-error.ts";
import { functionUrlEvent, type EventFacts, isUrlCall } from "../../../domain/lambda/function-url-event.ts";
import { type FunctionUrlHead, functionUrlResponse } from "../../../domain/lambda/function-url-response.ts";
import { PRELUDE_TYPE, StreamPrelude } from "../../../domain/lambda/stream-prelude.ts";
import { type EventForm, type FormedResponse, type LambdaAnswer, RAW_EVENT } from "./event.ts";

/**
 * The event is the request, as a function URL describes it, and the answer is what the function says of it. Pass `ownOrigin` for a
 * function at a host of its own.
 */
function functionUrl(facts: EventFacts, ownOrigin: boolean): EventForm {
  return {
    event: (request, body) => Buffer.from(JSON.stringify(functionUrlEvent({ ...request, body }, facts))),
    response(answer) {
      if (answer.kind === "error") return urlFailure();
      if (answer.kind === "stream") return streamed(answer);
      return functionUrlResponse(answer.payload, ownOrigin);
    },
    prelude: (content_type) => (content_type === PRELUDE_TYPE ? new StreamPrelude(ownOrigin) : undefined),
  };
}

function streamed(answer: LambdaAnswer & { readonly kind: "stream"; readonly head?: FunctionUrlHead }): FormedResponse {
  return answer.head === undefined ? RAW_EVENT.response(answer) : { ...answer.head, body: answer.payload };
}

/** Returns the form of a request's event: that of a function URL if it came by a route, unless the route says otherwise. */
export function formOf(request: FunctionRequest, facts: EventFacts): EventForm {
  return isUrlCall(request) ? functionUrl(facts, request.via?.host !== undefined) : RAW_EVENT;
}
