import type { Invocation } from "../../domain/calls/invocations.ts";
import { publicMessage } from "../../domain/calls/public-message.ts";
import { CALLBACK } from "../../domain/limits.ts";
import type { Payload } from "../../store/records.ts";
import { readStoredRequest, readStoredResponse } from "../calls/stored-messages.ts";

/** The path of an asynchronous call that came by OpenFaaS's API. */
const ASYNC_PATH = /^\/async-function\/([^/?]+)/;
const NO_BODY = new Uint8Array();

/**
 * Returns a result as OpenFaaS sends it: the function's own answer, with headers about the call. Undefined for a call that did not
 * name this `url` in `X-Callback-Url` of OpenFaaS's API, and for an answer that is too long for a callback: those are sent in our form,
 * which says so.
 */
export function openfaasCallback(
  invocation: Invocation,
  payload: Payload | undefined,
  url: string,
): { readonly body: Uint8Array; readonly headers: Readonly<Record<string, string>> } | undefined {
  if (payload === undefined) return undefined;
  const { url: path, headers: asked, via } = readStoredRequest(payload.request_meta, NO_BODY);
  const [, called] = ASYNC_PATH.exec(path) ?? [];
  if (called === undefined || via === null || via.host !== undefined || asked["x-callback-url"] !== url)
    return undefined;
  const { response, response_meta } = payload;
  if (response !== null && response.length > CALLBACK.response_bytes) return undefined;
  const { status, headers } =
    response === null ? failure(invocation) : readStoredResponse(response_meta, { succeeded: succeeded(invocation) });
  return {
    body: response ?? Buffer.from(messageOf(invocation)),
    headers: {
      ...Object.fromEntries(headers.filter(([name]) => isPassed(name))),
      "X-Call-Id": asked["x-call-id"] ?? invocation.id,
      "X-Function-Name": called.split(".", 1)[0] ?? called,
      "X-Function-Status": String(status),
      "X-Duration-Seconds": ((invocation.run_ms ?? 0) / 1_000).toFixed(6),
    },
  };
}

/** Headers of an answer that also describe the same body in a request. */
const DESCRIBING: ReadonlySet<string> = new Set(["content-type", "content-encoding", "content-language"]);
/**
 * Headers by which a receiver would take the server for somebody else, or the request for another one, in lower case; and those that
 * say what the server itself knows of the call.
 */
const NOT_PASSED =
  /^x-(?:forwarded|real-ip$|original-|client-ip$|cluster-client-ip$|envoy-|http-method|method-override$|api-key$|call-id$|function-(?:name|status)$|duration-seconds$|request-id$|slipway-)/;

/** Returns whether a header of a function's answer goes to its receiver: a request has others, such as `Host` or `Cookie`. */
function isPassed(name: string): boolean {
  return DESCRIBING.has(name) || (name.startsWith("x-") && !NOT_PASSED.test(name));
}

function succeeded({ status }: Invocation): boolean {
  return status === "succeeded";
}

/** Returns the head for a call without an answer. */
function failure({ reason }: Invocation) {
  const status = reason === "function_timeout" || reason === "boot_timeout" ? 504 : 502;
  return { status, headers: [["content-type", "text/plain;charset=utf-8"]] as const };
}

/** Its receiver need not be one who may read the record. */
function messageOf({ reason, message }: Invocation): string {
  return `${publicMessage(reason ?? "internal", message ?? "The function gave no answer")}\n`;
}
