import { rawEvent } from "../../../domain/lambda/raw-event.ts";
import { type BufferedRequest, JSON_TYPE } from "../../../domain/calls/http-message.ts";
import { aborted, deadline } from "../../../domain/concurrency.ts";
import type { IdempotentRequest } from "../../../domain/calls/idempotency.ts";
import { publicError } from "../../../domain/calls/public-message.ts";
import { AppError } from "../../../domain/errors.ts";
import { checkFunction, hasScope } from "../../../domain/keys.ts";
import { quoted } from "../../../domain/quoted.ts";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import type { Answer } from "../../../services/calls/call.ts";
import { storedRequest } from "../../../services/calls/stored-messages.ts";
import { clientOf } from "../../access/client-address.ts";
import { expectedBytes } from "../../calls/body-memory.ts";
import { countUntilOut } from "../../calls/invoke.ts";
import { SANDBOX_HEADERS } from "../../wire/errors.ts";
import { type ClientTry, clientTryOf, type SentCall } from "./client-tries.ts";
import { AwsError } from "../wire/errors.ts";
import { failureOf, payloadOf } from "./failures.ts";
import { logTail } from "./log-tail.ts";
import { calledAt, findFunction, type Qualified } from "../wire/qualified.ts";
import type { AwsRequest, AwsTools } from "../wire/tools.ts";

/** The ways to call a function, in `X-Amz-Invocation-Type`. */
const TYPES = ["RequestResponse", "Event", "DryRun"] as const;
type InvocationType = (typeof TYPES)[number];

/**
 * The longest wait of a client that wants the log for the end of a call that has its answer, in milliseconds: a runtime has 2 s to ask for
 * the next call, and extensions as long to end.
 */
const ENDING_MS = 10_000;

const CLIENT_CONTEXT = "x-amz-client-context";
/** Members of a request whose wish this server cannot fulfil, by their headers. */
const UNKNOWN = { "x-amz-durable-execution-name": "DurableExecutionName", "x-amz-tenant-id": "TenantId" } as const;
/** The headers of a request that its function gets, too: the rest is between the client and this server. */
const PASSED_ON = ["traceparent", "tracestate", "baggage", "user-agent", "x-amzn-trace-id", CLIENT_CONTEXT] as const;

/** A call that was read and checked. */
export interface AwsCall extends SentCall {
  readonly idempotency: IdempotentRequest;
  /** True if the caller may read records, and so what the function prints. */
  readonly may_read: boolean;
  /** Notes that the function was called: whatever is wrong from then on, another try is one at this call. */
  readonly called: (answer: Pick<Answer, "not_begun">) => void;
}

/** Calls a function as its `X-Amz-Invocation-Type` says. */
export function invoke(tools: AwsTools, asked: AwsRequest): Promise<Response> {
  return callAs(tools, asked, invocationType(asked.request));
}

/** `InvokeAsync`, which AWS has replaced with the type `Event`. Its `Status` is that of the answer, whose body is empty. */
export function invokeAsync(tools: AwsTools, asked: AwsRequest): Promise<Response> {
  return callAs(tools, asked, "Event");
}

async function callAs(tools: AwsTools, asked: AwsRequest, type: InvocationType): Promise<Response> {
  return withCall(tools, asked, type, async (call) => {
    if (type === "DryRun") return new Response(null, { status: 204, headers: answerHeaders(asked.id) });
    if (type === "Event") return submit(tools, asked, call);
    const made = await tools.idempotentCalls.invoke(sentCall(asked, call), call.idempotency);
    if ("queued" in made) return new Response(null, { status: 202, headers: answerHeaders(made.queued.id) });
    call.called(made.answer);
    return respond(tools, asked, call, made.answer);
  });
}

/** Reads and checks a call, and makes it with `make`. Its errors tell a caller that may not read records nothing about the function. */
export async function withCall(
  tools: AwsTools,
  asked: AwsRequest,
  type: string,
  make: (call: AwsCall) => Promise<Response>,
): Promise<Response> {
  const { guard, request } = asked;
  const caller = guard.callerOf(request);
  const { fn, qualifier } = await tools.freshness.find(() => findFunction(tools, asked));
  try {
    checkFunction(caller, fn.id);
  } catch (error) {
    guard.refused(request);
    throw error;
  }
  const { bodyMemory, readBody, request_bytes, clientAddress, server, idempotentCalls } = tools;
  wantsLogTail(request);
  refuseUnknown(request);
  const may_read = hasScope(caller, ["read"]);
  const shown = (error: unknown) => (may_read ? error : publicError(error));
  // The version may be newer than the function is here.
  const find = () => calledAt(tools, findFunction(tools, asked).fn, qualifier, caller);
  const qualified = await Promise.resolve(tools.freshness.find(find)).catch((error: unknown): never => {
    throw shown(error);
  });
  const client = () => clientOf(clientAddress(request, server()) ?? "");
  const room = bodyMemory.take(expectedBytes(request, request_bytes), client);
  let clientTry: ClientTry | undefined;
  let wasCalled = false;
  const called: AwsCall["called"] = ({ not_begun }) => void (wasCalled = not_begun !== true);
  try {
    const body = await readBody(request, request_bytes);
    bodyMemory.shrink(room, body.length);
    const sent = requestOf(tools, asked, payload(body, qualified));
    clientTry = clientTryOf(tools, asked, { ...qualified, key_id: caller.key_id, request: sent }, type);
    const { idempotency } = clientTry;
    return await make({ ...qualified, key_id: caller.key_id, request: sent, idempotency, may_read, called });
  } catch (error) {
    if (request.signal.aborted || wasCalled) clientTry?.givenUp();
    throw shown(error);
  } finally {
    // The call goes on without its client, and has the body until it ends.
    idempotentCalls.whenEnded(asked.id, () => bodyMemory.release(room));
  }
}

function targetOf({ function: fn, key_id }: AwsCall) {
  return { function: fn, route_id: null, key_id };
}

/** Returns a call as it is made for a client that waits for its answer. */
export function sentCall({ id, request }: AwsRequest, call: AwsCall) {
  const reads_record = getsLogTail(request, call) && { reads_record: true as const };
  return { id, target: targetOf(call), request: call.request, signal: request.signal, ...reads_record };
}

/** Returns the headers that every answer about a call has. */
export function answerHeaders(id: string, version?: string): Record<string, string> {
  return {
    ...SANDBOX_HEADERS,
    "x-request-id": id,
    "x-amzn-RequestId": id,
    ...(version !== undefined && { "X-Amz-Executed-Version": version }),
  };
}

/** Returns whether a client wants the end of the function's output, and may read it. */
export function getsLogTail(request: Request, { may_read }: Pick<AwsCall, "may_read">): boolean {
  return may_read && wantsLogTail(request);
}

/** Returns whether a client wants the end of the function's output. Throws `InvalidParameterValueException`. */
function wantsLogTail({ headers }: Request): boolean {
  const type = headers.get("x-amz-log-type") ?? "None";
  if (type === "None" || type === "Tail") return type === "Tail";
  throw new AwsError("InvalidParameterValueException", `Invalid LogType ${quoted(type, 40)}: give None or Tail`);
}

/** Throws `InvalidParameterValueException` for a call that asks for a tenant's own instances, or for a durable execution. */
function refuseUnknown({ headers }: Request): void {
  for (const [header, name] of Object.entries(UNKNOWN)) {
    if (!headers.has(header)) continue;
    throw new AwsError(
      "InvalidParameterValueException",
      `Invalid ${name}: this server has nothing like it: leave it out`,
    );
  }
}

async function respond(tools: AwsTools, { request }: AwsRequest, call: AwsCall, answer: Answer): Promise<Response> {
  const { function: fn, version } = call;
  const { invocation, response } = answer;
  const failure = failureOf(answer, fn.timeout_ms);
  const body = failure === undefined ? bytesOf(response?.body) : payloadOf(failure);
  countUntilOut(tools, request, body.length);
  const headers = new Headers(answerHeaders(invocation.id, version));
  const type = response?.headers.find(([name]) => name === "content-type")?.[1];
  headers.set("Content-Type", failure === undefined && type !== undefined ? type : JSON_TYPE);
  if (failure !== undefined) headers.set("X-Amz-Function-Error", "Unhandled");
  if (getsLogTail(request, call)) headers.set("X-Amz-Log-Result", await tailFor(tools, invocation, request.signal));
  return new Response(Buffer.from(body.buffer, body.byteOffset, body.byteLength), { status: 200, headers });
}

/**
 * Returns the end of what a call has printed, in base64, once it has ended: a function may print after its answer. Empty if it cannot be
 * read now: the function has run, so its answer counts.
 */
export async function tailFor(
  { invocations, clock }: Pick<AwsTools, "invocations" | "clock">,
  { id }: Invocation,
  signal: AbortSignal,
): Promise<string> {
  using limit = deadline(clock, ENDING_MS, signal);
  await Promise.race([invocations.ended(id), aborted(limit.signal)]);
  try {
    const { entries } = await invocations.logs(id);
    return logTail(entries);
  } catch {
    return "";
  }
}

/** Queues a call, once for all attempts of its client. */
async function submit({ functions, queue, tracing }: AwsTools, { id }: AwsRequest, call: AwsCall): Promise<Response> {
  const { function: fn, request, idempotency } = call;
  if (functions.get(fn.id).version !== fn.version) {
    throw new AwsError(
      "InvalidParameterValueException",
      `A call of the type Event runs the function as it is when its turn comes, and version ${fn.version} is not the latest: leave the qualifier out`,
    );
  }
  const { invocation } = await queue.submit({
    id,
    target: targetOf(call),
    body: request.body,
    request_meta: storedRequest(request, fn),
    idempotency,
    origin: { callback_url: fn.callback_url, ...tracing.begin(id, request.headers) },
  });
  return new Response(null, { status: 202, headers: answerHeaders(invocation.id) });
}

function invocationType({ headers }: Request): InvocationType {
  const given = headers.get("x-amz-invocation-type") ?? "RequestResponse";
  const type = TYPES.find((one) => one === given);
  if (type !== undefined) return type;
  throw new AwsError(
    "InvalidParameterValueException",
    `Invalid InvocationType ${quoted(given, 40)}: give ${TYPES.join(", ")}`,
  );
}

/** Returns the payload as the function gets it. Throws `InvalidRequestContentException`. */
function payload(body: Uint8Array, { function: fn }: Qualified): Uint8Array {
  const { contract } = fn;
  if (contract === "http" && body.length === 0) return Buffer.from("{}");
  if (contract !== "lambda") return body;
  try {
    return rawEvent(body);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new AwsError("InvalidRequestContentException", error.message);
  }
}

/** Returns the request that a function gets: `POST /` with the payload, whatever the path was that led to it. */
function requestOf(
  { clientAddress, clientUsesTls, server }: AwsTools,
  { request }: AwsRequest,
  body: Uint8Array,
): BufferedRequest {
  checkClientContext(request.headers.get(CLIENT_CONTEXT));
  const headers: Record<string, string> = { "content-type": JSON_TYPE };
  for (const name of PASSED_ON) {
    const value = request.headers.get(name);
    if (value !== null) headers[name] = value;
  }
  const via = {
    path: "/",
    path_rest: null,
    route: null,
    query: {},
    query_string: "",
    client_address: clientAddress(request, server()),
    ...(clientUsesTls(request, server()) && { encrypted: true as const }),
  };
  return { method: "POST", url: "/", headers, body, via };
}

function checkClientContext(context: string | null): void {
  if (context === null) return;
  try {
    JSON.parse(Buffer.from(context, "base64").toString());
  } catch (error) {
    throw new AwsError(
      "InvalidRequestContentException",
      `The client context is not the base64 of JSON: ${error instanceof Error ? error.message : "it cannot be read"}`,
    );
  }
}

function bytesOf(body: unknown): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array();
}
