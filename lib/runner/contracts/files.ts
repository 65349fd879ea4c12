import {
  ANY_BYTES_TYPE,
  bytesOf,
  type FunctionRequest,
  type FunctionResponse,
  type HttpOrigin,
  isJsonType,
  JSON_TYPE,
  type ResponseHeader,
  WITHOUT_BODY,
} from "../../domain/calls/http-message.ts";
import type { Reason } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { RetryWish } from "../../domain/functions/retry.ts";
import { RESPONSE_META_BYTES } from "../../domain/limits.ts";
import { decodeText, NotJson, parseJsonText, withoutByteOrderMark } from "../../domain/json-text.ts";
import { traceVariables } from "../../domain/tracing/trace-context.ts";
import { timestamp } from "../../domain/types.ts";
import type { ExitFrame, GateFile, ResponseState } from "../gate-protocol/frames.ts";
import type { Exchange } from "../instance/active-call.ts";
import { type AnswerFiles, failed, finished, type Outcome, type RunFacts, usageOf } from "../instance/outcome.ts";
import { OUT_OF_MEMORY } from "../platform.ts";
import type { Contract, ContractCall } from "./contract.ts";
import { endingOf, hasSucceeded, ranOutOfMemory } from "./ending.ts";
import { parseResponseMeta, PLAIN_RESPONSE, type ResponseMeta } from "./response-meta.ts";

/**
 * The contract `files`: the function finds its request in the files `request.json`, `request.body` and
 * `request.meta.json` of its context, leaves its answer in `response.json` or `response.body` and
 * `response.meta.json`, and exits.
 */
export const FILES: Contract = {
  exchange: (call, now) => {
    const { body } = call.request;
    // The gate is told the length of the body first. A body that has arrived costs a warm call no turn of the event loop.
    return body instanceof Uint8Array
      ? exchangeOf(call, body, now)
      : bytesOf(body).then((bytes) => exchangeOf(call, bytes, now));
  },
};

function exchangeOf({ id, function: fn, request, secrets }: ContractCall, body: Uint8Array, now: number): Exchange {
  const files: GateFile[] = [];
  if (request.via !== null) {
    const bytes = encodeRequestMeta(request, request.via, { request_id: id, function: fn, now });
    files.push({ place: "context", name: "request.meta.json", bytes });
  }
  for (const { name, value } of secrets.files) files.push({ place: "secrets", name, bytes: Buffer.from(value) });
  return {
    body,
    body_file: wantsBodyFile(request, body),
    extras: {
      environment: secrets.environment,
      files,
      // Most calls belong to no trace.
      ...(request.headers["traceparent"] !== undefined && { defaults: traceVariables(request.headers) }),
    },
    secrets: [...Object.values(secrets.environment), ...secrets.files.map(({ value }) => value)],
    judge,
  };
}

/** The facts of a call that are known only when its function is about to start. */
interface RunContext {
  readonly request_id: string;
  readonly function: Pick<Function, "id" | "name" | "version" | "timeout_ms">;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Returns the bytes of `request.meta.json`. */
function encodeRequestMeta(
  { method, url, headers }: Omit<FunctionRequest, "body" | "via">,
  { path, path_rest, route, query, query_string, client_address }: HttpOrigin,
  { request_id, function: { id, name, version, timeout_ms }, now }: RunContext,
): Uint8Array {
  // Functions also read this with tools that are not JSON parsers: the order of the fields is part of the contract.
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

/** Returns whether the function also finds the body as `request.body`: unless the sender says that it is JSON, not encoded. */
function wantsBodyFile({ headers }: Pick<FunctionRequest, "headers">, body: Uint8Array): boolean {
  const { "content-type": type, "content-encoding": encoding = "identity" } = headers;
  if (encoding.toLowerCase() !== "identity") return true;
  return type === undefined ? body.length > 0 : !isJsonType(type);
}

/** Judges a function that has ended by the gate's report and the files that it left. */
export function judge(exit: ExitFrame, { response, meta }: AnswerFiles, facts: RunFacts): Outcome {
  const usage = usageOf(exit, exit.responseState === "fine" ? response.length : null);
  if (ranOutOfMemory(exit)) return failed(facts, "out_of_memory", OUT_OF_MEMORY, usage);
  const success = hasSucceeded(exit);
  const message = endingOf(exit);
  const said = readMeta(exit, meta);
  const wish = "meta" in said ? wishOf(said.meta) : {};
  const problem = responseProblem(exit, response, facts.response_limit) ?? ("reason" in said ? said : undefined);
  if (problem) return failed(facts, problem.reason, `${message}, and ${problem.message}: see its logs`, usage);
  if (!success && !exit.bodyFile && UNTOUCHED.equals(response)) {
    return failed(facts, "function_failed", `${message} and wrote no response: see its logs`, { ...usage, wish });
  }
  const answered = "meta" in said ? said.meta : PLAIN_RESPONSE;
  for (const line of answered.dropped) facts.logs.note(`slipway: ${line}\n`);
  const { status, headers } = headOf(answered, exit.bodyFile, success);
  const body = exit.bodyFile ? response : withoutByteOrderMark(response);
  const answer = { wish, response: { status, headers, body }, ...usage };
  if (success) return finished(facts, { status: "succeeded", reason: null, message: null, ...answer });
  return finished(facts, { status: "failed", reason: "function_failed", message, ...answer });
}

const UNTOUCHED = Buffer.from("{}");
/**
 * Returns status and headers of an answer. The status in `response.meta.json` counts only if the function succeeded, and
 * a content type that it does not give depends on the file that the body is in.
 */
export function headOf(
  { status, headers }: Pick<ResponseMeta, "status" | "headers">,
  bodyFile: boolean,
  success: boolean,
): Omit<FunctionResponse, "body"> {
  const sent = success ? status : 500;
  if (WITHOUT_BODY.has(sent) || headers.some(([name]) => name === "content-type")) return { status: sent, headers };
  const type = bodyFile ? ANY_BODY : JSON_BODY;
  return { status: sent, headers: headers.length === 0 ? type : [...headers, ...type] };
}

const ANY_BODY: readonly ResponseHeader[] = [["content-type", ANY_BYTES_TYPE]];
const JSON_BODY: readonly ResponseHeader[] = [["content-type", JSON_TYPE]];

function wishOf({ retry, retry_after_ms }: ResponseMeta): RetryWish {
  return { ...(retry !== undefined && { retry }), ...(retry_after_ms !== undefined && { retry_after_ms }) };
}

/** Reads response.meta.json, if the function wrote one, or returns the problem with it. */
function readMeta(exit: ExitFrame, bytes: Uint8Array): { readonly meta: ResponseMeta } | Problem {
  if (exit.metaState === "missing") return { meta: PLAIN_RESPONSE };
  const unusable = fileProblem("response.meta.json", exit.metaState, RESPONSE_META_BYTES);
  if (unusable !== undefined) return { reason: "invalid_response", message: unusable.message };
  const meta = parseResponseMeta(bytes);
  if ("problem" in meta) return { reason: "invalid_response", message: `response.meta.json ${meta.problem}` };
  return { meta };
}

/** The reason why an answer cannot be used. */
interface Problem {
  readonly reason: Reason;
  readonly message: string;
}

function fileProblem(name: string, state: ResponseState, limit: number): Problem | undefined {
  switch (state) {
    case "fine":
      return undefined;
    case "missing":
      return { reason: "invalid_response", message: `${name} is gone` };
    case "no_regular_file":
      return { reason: "invalid_response", message: `${name} is not a regular file` };
    case "over_limit":
      return { reason: "response_too_large", message: `${name} is over the limit of ${limit} bytes` };
    case "unreadable":
      return { reason: "invalid_response", message: `${name} could not be read` };
  }
}

/** Returns the problem with a response, or nothing. It is only read: numbers beyond 2^53 reach the caller as they are. */
function responseProblem(exit: ExitFrame, response: Uint8Array, limit: number): Problem | undefined {
  const unusable = fileProblem(exit.bodyFile ? "response.body" : "response.json", exit.responseState, limit);
  if (unusable !== undefined || exit.bodyFile) return unusable;
  if (response.length === 0) return { reason: "invalid_response", message: "response.json is empty" };
  try {
    parseJsonText(decodeText(response));
    return undefined;
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    return { reason: "invalid_response", message: `response.json is not JSON: ${error.message}` };
  }
}
