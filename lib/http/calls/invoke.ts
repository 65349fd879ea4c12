import type { Server } from "bun";
import { t } from "elysia";
import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import { rawEvent } from "../../domain/lambda/raw-event.ts";
import { publicError } from "../../domain/calls/public-message.ts";
import type { FunctionResponse } from "../../domain/calls/http-message.ts";
import { idempotentRequest } from "../../domain/calls/idempotency.ts";
import { parseIdempotencyKey } from "../../domain/calls/submissions.ts";
import { checkFunction, hasScope } from "../../domain/keys.ts";
import type { Freshness } from "../../services/cluster/freshness.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import type { Invocation, Undelivered } from "../../domain/calls/invocations.ts";
import type { IdempotentCalls } from "../../services/calls/idempotent-calls.ts";
import type { Answer } from "../../services/calls/call.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { Target } from "../../services/calls/record.ts";
import { type ClientAddress, type ClientUsesTls, clientOf } from "../access/client-address.ts";
import { type BodyMemory, expectedBytes, type Room } from "./body-memory.ts";
import type { ReadBody } from "../wire/body.ts";
import type { BeginUpload } from "./upload.ts";
import { answerResponse, type Reader } from "./answer.ts";
import { type RequestClient, type CallPath, functionRequest } from "./request.ts";
import { asksForWebSocket, callByWebSocket } from "./websocket/upgrade.ts";
import type { RequestId } from "../wire/errors.ts";
import { LONG_ANSWER_BYTES, type SlowReaders } from "../wire/slow-readers.ts";
import { callDetail } from "../openapi/calls.ts";
import { type Guard, resource } from "../access/guard.ts";
import {
  accepted,
  type SubmissionWishes,
  checkSynchronous,
  isAsynchronous,
  shownOnRoutes,
  SubmissionQuery,
  type Submissions,
} from "./submit.ts";

/** The dependencies of both ways to call a function. */
export interface CallDeps {
  readonly invocations: InvocationService;
  readonly idempotentCalls: Pick<IdempotentCalls, "invoke" | "whenEnded">;
  readonly submissions: Pick<Submissions, "take">;
  readonly readBody: ReadBody;
  readonly beginUpload: BeginUpload;
  readonly bodyMemory: BodyMemory;
  readonly requestId: RequestId;
  readonly clock: Clock;
  /** Finds what other servers have just made. */
  readonly freshness: Freshness;
  readonly slowReaders: SlowReaders;
  readonly server: () => Server<unknown> | null;
  readonly clientAddress: ClientAddress;
  readonly clientUsesTls: ClientUsesTls;
  /** The largest request body. */
  readonly request_bytes: number;
}

/** A function to call, however its caller came to it. */
interface Called {
  /** Becomes the id of the invocation. */
  readonly id: string;
  readonly target: Target;
  readonly path: CallPath;
  /** Queues the call if its sender wants that; undefined if it cannot be asynchronous. */
  readonly submission?: SubmissionWishes | undefined;
  /** True if the caller may read the record of its call. */
  readonly may_read: boolean;
}

/** The path of a call without a route: its key, if it has one, was for this server. */
const WITHOUT_ROUTE: CallPath = { path: "/", path_rest: null, route: null, keyed: true };

/** `POST /v1/functions/:id/invoke`: a call without a route, for callers that may use `/v1`. */
export function invokeRoutes(guard: Guard<"invoke">, functions: FunctionService, calls: CallDeps) {
  return resource(guard, "calls").post(
    "/:id/invoke",
    async ({ request, set, params: { id }, query }) => {
      const fn = await calls.freshness.find(() => functions.get(id));
      const caller = guard.callerOf(request);
      const target = { function: fn, route_id: null, key_id: caller.key_id };
      // The sender knows the URL that it has sent.
      const shown = (record: Invocation) =>
        record.callback_url === query.callback_url ? record : guard.shown(request, record);
      const submission = { query, caller, shown };
      const called = { id: calls.requestId(set), target, path: WITHOUT_ROUTE, submission };
      return await callFor(guard, calls, request, called);
    },
    {
      needs: "invoke",
      query: SubmissionQuery,
      params: t.Object({
        id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
      }),
      parse: "none",
      detail: callDetail("invokeFunction", "Call a function without a route", [400, 401, 403, 404, 421]),
    },
  );
}

/**
 * Calls a function for a caller that a guard has let in: its key must be for this function, and what it learns of a failure depends
 * on whether it may read records.
 */
export async function callFor(
  guard: Guard<"invoke">,
  calls: CallDeps,
  request: Request,
  called: Omit<Called, "may_read">,
): Promise<Response> {
  const caller = guard.callerOf(request);
  const may_read = hasScope(caller, ["read"]);
  try {
    checkFunction(caller, called.target.function.id);
    return await call(calls, request, { ...called, may_read }).catch((error: unknown) => {
      throw may_read ? error : publicError(error);
    });
  } catch (error) {
    if (error instanceof AppError && error.reason === "forbidden") guard.refused(request);
    throw error;
  }
}

/** Calls a function for a request that was admitted. The answer is the function's own, or says why there is none. */
export async function call(calls: CallDeps, request: Request, called: Called): Promise<Response> {
  const { bodyMemory, readBody, request_bytes } = calls;
  if (called.target.function.contract === "http" && asksForWebSocket(request)) return connect(calls, request, called);
  if (isStreamed(request, called)) return stream(calls, request, called);
  const room = bodyMemory.take(expectedBytes(request, request_bytes), () => clientOfRequest(calls, request));
  let isHeld = false;
  try {
    const body = await readBody(request, request_bytes);
    bodyMemory.shrink(room, body.length);
    // Before the call is queued, or takes an instance.
    const isEvent = called.path.route === null || called.path.event === "raw";
    if (called.target.function.contract === "lambda" && isEvent) rawEvent(body);
    const answer = await answerTo(calls, request, called, body);
    // A long one is still being read if the answer has begun before that.
    isHeld = body.length > WHOLE_BYTES && called.target.function.contract === "stdio";
    return answer;
  } finally {
    // With an Idempotency-Key the call goes on without its client, and has the body until it ends.
    calls.idempotentCalls.whenEnded(called.id, () => {
      if (isHeld) releaseWhenOut(calls, request, room);
      else bodyMemory.release(room);
    });
  }
}

/** Announced bodies up to this size are read before the call: an instance does not wait for them, and they fit into one window of its stream. */
const WHOLE_BYTES = 64 * 1024;

/**
 * Returns whether the function reads the body while it comes. A body that is stored with the call, or
 * may be tried again, is read before, and so is one of which a CGI program must know the length.
 */
function isStreamed(request: Request, { target, submission }: Called): boolean {
  const { contract, buffer_request, output } = target.function;
  if (contract === "files" || contract === "lambda" || buffer_request || request.headers.has("idempotency-key"))
    return false;
  const announced = request.headers.get("content-length");
  if (announced === null && output === "cgi") return false;
  const isLong = announced === null ? request.body !== null : Number(announced) > WHOLE_BYTES;
  return isLong && !(submission !== undefined && isAsynchronous(request, submission));
}

/** Calls a function that reads the body of the request while it comes: nothing of it is held. */
async function stream(
  calls: CallDeps,
  request: Request,
  { id, target, path, submission, may_read }: Called,
): Promise<Response> {
  const { invocations, beginUpload, request_bytes } = calls;
  if (submission !== undefined) checkSynchronous(submission.query ?? {});
  const { body, signal, answered } = beginUpload(request, request_bytes);
  const asked = functionRequest(request, requestClient(calls, request), path, body);
  const answer = await invocations.invoke({ id, target, request: asked, signal });
  answered();
  return respond(calls, request, answer, readerOf(request, { path, may_read }));
}

/** Calls a function by a WebSocket. */
async function connect(calls: CallDeps, request: Request, { id, target, path, may_read }: Called): Promise<Response> {
  const asked = functionRequest(request, requestClient(calls, request), path, new Uint8Array(0));
  const answer = await callByWebSocket(calls, request, { id, target, request: asked });
  // Bun does not look at the answer to a request that was upgraded.
  if (answer === "upgraded") return new Response(null);
  return respond(calls, request, answer, readerOf(request, { path, may_read }));
}

async function answerTo(
  calls: CallDeps,
  request: Request,
  { id, target, path, submission, may_read }: Called,
  body: Uint8Array,
): Promise<Response> {
  const { invocations, idempotentCalls, submissions } = calls;
  const asked = { id, target, request: functionRequest(request, requestClient(calls, request), path, body) };
  const key = parseIdempotencyKey(request.headers.get("idempotency-key"));
  const isPublic = target.route_id !== null && target.key_id === null;
  const idempotency = key === undefined ? undefined : idempotentRequest(key, asked.request, isPublic);
  const taken = submission && (await submissions.take(request, asked, submission, idempotency));
  if (taken !== undefined) return taken;
  const reader = readerOf(request, { path, may_read });
  if (idempotency !== undefined) {
    const made = await idempotentCalls.invoke({ ...asked, signal: request.signal }, idempotency);
    if ("queued" in made) return accepted((submission?.shown ?? shownOnRoutes)(made.queued), made.queued.id, true);
    const response = respond(calls, request, made.answer, reader, made.replayed);
    if (made.replayed) response.headers.set("Idempotent-Replayed", "true");
    // The invocation that gave the answer, not one that this request would have been.
    response.headers.set("X-Request-Id", made.answer.invocation.id);
    return response;
  }
  return respond(calls, request, await invocations.invoke({ ...asked, signal: request.signal }), reader);
}

function readerOf({ method, headers }: Request, { path, may_read }: Pick<Called, "path" | "may_read">): Reader {
  return { accept: headers.get("accept"), method, may_read, own_origin: path.host !== undefined };
}

/** Returns the HTTP answer to a call, and follows it to its reader. A body that will not be read is given up. */
function respond(calls: CallDeps, request: Request, answer: Answer, reader: Reader, isRepeat = false): Response {
  try {
    holdAnswer(calls, request, answer);
    followReader(calls, request, answer, isRepeat);
    return answerResponse(answer, reader);
  } catch (error) {
    const body = answer.response?.body;
    if (body instanceof ReadableStream) void body.cancel(error).catch(() => undefined);
    throw error;
  }
}

/** Gives the reader of a long answer time, and notes if it leaves before it has all: of a repeat, the record does not tell. */
function followReader(calls: CallDeps, request: Request, { invocation, response }: Answer, isRepeat: boolean): void {
  const { invocations, slowReaders, server } = calls;
  if (response === null || !(isLong(response) || request.signal.aborted)) return;
  const onUndelivered = (why: Undelivered) => {
    if (!isRepeat) invocations.undelivered(invocation.id, why);
  };
  slowReaders.follow({ request, server: server(), onUndelivered });
}

function holdAnswer(calls: CallDeps, request: Request, { response }: Answer): void {
  holdUntilOut(calls, request, response?.body instanceof Uint8Array ? response.body.length : 0);
}

/** The parts that the memory of an answer takes. */
type AnswerMemory = Pick<CallDeps, "bodyMemory" | "clientAddress" | "server">;

/** Takes room for an answer, if it is a long one, until its reader has it. Throws `overloaded` if there is none. */
export function holdUntilOut(calls: AnswerMemory, request: Request, bytes: number): void {
  if (bytes < LONG_ANSWER_BYTES) return;
  const room = calls.bodyMemory.take(bytes, () => clientOfRequest(calls, request));
  releaseWhenOut(calls, request, room);
}

/** Counts an answer, if it is a long one, until its reader has it: also where there is no room, for readers that would call again. */
export function countUntilOut(calls: AnswerMemory, request: Request, bytes: number): void {
  if (bytes < LONG_ANSWER_BYTES) return;
  const room = calls.bodyMemory.count(bytes, () => clientOfRequest(calls, request));
  releaseWhenOut(calls, request, room);
}

function releaseWhenOut({ bodyMemory, server }: AnswerMemory, request: Request, room: Room): void {
  bodyMemory.releaseWhenOut(room, () => server()?.requestIP(request) === null);
}

function requestClient({ clientAddress, clientUsesTls, server }: CallDeps, request: Request): RequestClient {
  return { address: clientAddress(request, server()), usesTls: clientUsesTls(request, server()) };
}

function clientOfRequest(
  { clientAddress, server }: Pick<CallDeps, "clientAddress" | "server">,
  request: Request,
): string {
  return clientOf(clientAddress(request, server()) ?? "");
}

function isLong({ body }: FunctionResponse): boolean {
  return !(body instanceof Uint8Array) || body.length >= LONG_ANSWER_BYTES;
}
