import type { Server } from "bun";
import { Type } from "@sinclair/typebox";
import { Elysia, t } from "elysia";
import type { Clock } from "../../clock.ts";
import { Attempt } from "../../domain/calls/attempts.ts";
import { Callback } from "../../domain/calls/callbacks.ts";
import {
  Invocation,
  InvocationLogs,
  InvocationPage,
  parseInvocationQuery,
  ShownInvocation,
} from "../../domain/calls/invocations.ts";
import { KeptRequest } from "../../domain/calls/views/kept-requests.ts";
import { parseWait } from "../../domain/calls/submissions.ts";
import { AppError } from "../../domain/errors.ts";
import { type Caller, checkOwnWork } from "../../domain/keys.ts";
import { REPLAYS } from "../../domain/limits.ts";
import { quoted } from "../../domain/quoted.ts";
import type { CallbackService } from "../../services/callbacks/callbacks.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { Queue } from "../../services/work/queue.ts";
import type { ReplayService } from "../../services/work/replays.ts";
import type { OpenStreams } from "../access/open-streams.ts";
import type { ClientAddress } from "../access/client-address.ts";
import { requestShownTo, urlShownTo } from "../access/callback-paths.ts";
import { type Guard, resource } from "../access/guard.ts";
import { answerResponse } from "../calls/answer.ts";
import type { BodyMemory } from "../calls/body-memory.ts";
import { holdUntilOut } from "../calls/invoke.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import type { RequestId } from "../wire/errors.ts";
import { wholeNumber } from "../wire/parameters.ts";
import { invocationEvents } from "./invocation-events.ts";
import { filter, waiting } from "./invocations/queries.ts";

/** The services that know calls, and act on them. */
export interface InvocationTools {
  readonly invocations: InvocationService;
  readonly results: ResultService;
  readonly callbacks: CallbackService;
  readonly queue: Queue;
  readonly replays: ReplayService;
  readonly clock: Clock;
  readonly requestId: RequestId;
  /** Takes room for an answer until its reader has it. */
  readonly bodyMemory: BodyMemory;
  readonly clientAddress: ClientAddress;
  readonly server: () => Server<unknown> | null;
  /** Counts the readers of events. */
  readonly openStreams: OpenStreams;
}

const id = t.String({
  description: "The id of the invocation: the `X-Request-Id` of its answer.",
  examples: ["7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
});
const params = t.Object({ id });
const attemptParams = t.Object({
  id,
  attempt: wholeNumber({ description: "The number of the attempt.", minimum: 1, example: 1 }),
});

const Replay = Type.Object(
  {
    status: Type.Literal("dead", {
      description: "Only dead invocations can be replayed in bulk.",
      examples: ["dead"],
    }),
    function_id: Type.Optional(
      Type.String({ description: "Only invocations of this function, by its id or name.", examples: ["hello-world"] }),
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: REPLAYS.max,
        description: "The most invocations to replay.",
        examples: [REPLAYS.default],
      }),
    ),
  },
  { additionalProperties: false },
);

const Replayed = Type.Object({
  invocations: Type.Array(Invocation, { description: "The new invocations." }),
  left: Type.Integer({ description: "Dead invocations that have not been replayed yet.", examples: [0] }),
});

/** `/v1/invocations`: the records of calls, their results, and what can still be done to them. */
export function invocationsRoutes(guard: Guard, tools: InvocationTools) {
  return new Elysia({ normalize: false })
    .use(recordRoutes(guard, tools))
    .use(messageRoutes(guard, tools))
    .use(attemptRoutes(guard, tools))
    .use(actionRoutes(guard, tools));
}

function recordRoutes(guard: Guard, { invocations, results, clock, openStreams }: InvocationTools) {
  return resource(guard, "invocations")
    .get(
      "/",
      async ({ query: raw, request }) =>
        success(guard.shown(request, await invocations.list(parseInvocationQuery(raw)))),
      {
        needs: "read",
        long: true,
        query: filter,
        response: { 200: Envelope(InvocationPage, "A page of invocations, newest first."), ...errors(400) },
        detail: { operationId: "listInvocations", summary: "List the invocations, newest first" },
      },
    )
    .get(
      "/:id",
      async ({ params: { id }, query: { wait }, request }) => {
        const record = wait === undefined ? invocations.get(id) : results.wait(id, parseWait(wait), request.signal);
        return success(await results.withServer(guard.shown(request, await record)));
      },
      {
        needs: "read",
        params,
        query: waiting,
        response: { 200: Envelope(ShownInvocation, "The invocation."), ...errors(400, 404) },
        detail: {
          operationId: "getInvocation",
          summary: "Show an invocation",
          description:
            "With `wait`, answers when the invocation has ended, or with the state it is in when the time is up.",
        },
      },
    )
    .get("/:id/logs", async ({ params: { id } }) => success(await invocations.logs(id)), {
      needs: "read",
      long: true,
      params,
      response: { 200: Envelope(InvocationLogs, "What the function printed, as far as it was kept."), ...errors(404) },
      detail: { operationId: "getInvocationLogs", summary: "Show what the function printed, or has printed so far" },
    })
    .get(
      "/:id/events",
      ({ params: { id }, request }) =>
        invocationEvents(results, clock, id, {
          last_event_id: request.headers.get("last-event-id"),
          shown: (record) => guard.shown(request, record),
          enter: () => openStreams.enter(guard.callerOf(request).key_id),
        }),
      {
        needs: "read",
        long: true,
        params,
        response: errors(404, 503),
        detail: {
          operationId: "followInvocation",
          summary: "Follow an invocation",
          description:
            "Server-sent events: `state` with the record whenever it changes, `log` with what the function has printed so far " +
            "and then with what it prints, and `end`. Each has an `id`; a client that was cut off sends the last one as " +
            "`Last-Event-ID` and gets what it has missed.",
        },
      },
    );
}

function messageRoutes(guard: Guard, tools: InvocationTools) {
  const { invocations, results, requestId } = tools;
  return resource(guard, "invocations")
    .get(
      "/:id/request",
      async ({ params: { id }, request }) => {
        // Before it is read.
        holdUntilOut(tools, request, (await invocations.get(id)).request_bytes);
        return success(requestShownTo(guard.callerOf(request), await results.request(id)));
      },
      {
        needs: "read",
        long: true,
        params,
        response: { 200: Envelope(KeptRequest, "The request, as far as it is kept."), ...errors(404, 503) },
        detail: {
          operationId: "getInvocationRequest",
          summary: "Show the request of an invocation",
          description:
            "Requests of asynchronous invocations are kept, those of synchronous ones if the function has `record_bodies`. " +
            "404 if it was not kept. It never has the caller's credentials, and the path of a callback URL in it is for keys that may set one.",
        },
      },
    )
    .get(
      "/:id/result",
      async ({ params: { id }, request, set }) => {
        // Before it is read.
        holdUntilOut(tools, request, (await invocations.get(id)).response_bytes ?? 0);
        const answer = await results.result(id);
        const accept = request.headers.get("accept");
        return answerResponse(answer, { accept, request_id: requestId(set), may_read: true });
      },
      {
        needs: "read",
        long: true,
        params,
        response: errors(404, 409, 503),
        detail: {
          operationId: "getInvocationResult",
          summary: "Get the function's own answer",
          description:
            "The status, headers and body that a caller who waited would have got. 409 until the invocation has ended.",
        },
      },
    );
}

function attemptRoutes(guard: Guard, { results, callbacks }: InvocationTools) {
  const shownCallback = callbackShown(guard);
  return resource(guard, "invocations")
    .get("/:id/attempts", async ({ params: { id } }) => success(await results.attempts(id)), {
      needs: "read",
      params,
      response: { 200: Envelope(Type.Array(Attempt), "The attempts, oldest first."), ...errors(404) },
      detail: { operationId: "listAttempts", summary: "List the attempts at an asynchronous invocation" },
    })
    .get(
      "/:id/attempts/:attempt/logs",
      async ({ params: { id, attempt } }) => success(await results.attemptLogs(id, numberOf(attempt))),
      {
        needs: "read",
        long: true,
        params: attemptParams,
        response: {
          200: Envelope(InvocationLogs, "What the attempt printed, as far as it was kept."),
          ...errors(400, 404),
        },
        detail: { operationId: "getAttemptLogs", summary: "Show what the function printed in an attempt" },
      },
    )
    .get(
      "/:id/callback",
      async ({ params: { id }, request }) => success(shownCallback(request, await callbacks.get(id))),
      {
        needs: "read",
        params,
        response: { 200: Envelope(Callback, "The state of the callback."), ...errors(404) },
        detail: {
          operationId: "getCallback",
          summary: "Show whether a result has reached its callback_url",
          description: "404 for an invocation that has not ended or has no `callback_url`.",
        },
      },
    );
}

/** Returns a function that hides the path of a callback's URL from who must not see it. */
function callbackShown({ callerOf }: Guard) {
  return (request: Request, callback: Callback): Callback => ({
    ...callback,
    url: urlShownTo(callerOf(request), callback.url),
  });
}

function actionRoutes(guard: Guard, { invocations, queue, replays, callbacks }: InvocationTools) {
  /** Returns the id if the caller may act on its invocation; throws `forbidden` if not. */
  const own = async (request: Request, id: string): Promise<string> => {
    checkOwnWork(guard.callerOf(request), await invocations.get(id));
    return id;
  };
  const shownCallback = callbackShown(guard);
  return resource(guard, "invocations")
    .post(
      "/:id/cancel",
      async ({ params: { id }, request, set }) => {
        const invocation = await queue.cancel(await own(request, id));
        if (invocation.finished_at === null) set.status = 202;
        return success(guard.shown(request, invocation));
      },
      {
        needs: "write",
        params,
        response: {
          200: Envelope(Invocation, "The invocation as it is now."),
          202: Envelope(Invocation, "It runs on another server, which was asked to end it and has not done so yet."),
          ...errors(404, 409, 503, 507),
        },
        detail: CANCEL,
      },
    )
    .post(
      "/:id/callback",
      async ({ params: { id }, request }) =>
        success(shownCallback(request, await callbacks.retry(await own(request, id)))),
      {
        needs: "write",
        params,
        response: { 200: Envelope(Callback, "The callback, which is due now."), ...errors(404, 409, 507) },
        detail: RETRY_CALLBACK,
      },
    )
    .post(
      "/:id/replay",
      async ({ params: { id }, request, set }) => {
        const replay = await replays.replay(await own(request, id), guard.callerOf(request));
        set.status = 202;
        set.headers["location"] = `/v1/invocations/${replay.id}`;
        return success(guard.shown(request, replay));
      },
      {
        needs: "write",
        params,
        response: { 202: Envelope(Invocation, "The new invocation, queued."), ...errors(404, 503, 507) },
        detail: REPLAY,
      },
    )
    .post(
      "/replay",
      async ({ body: { function_id, limit }, request, set }) => {
        const caller = guard.callerOf(request);
        checkBulk(caller, function_id);
        set.status = 202;
        const query = { ...(function_id !== undefined && { function_id }), ...(limit !== undefined && { limit }) };
        return success(guard.shown(request, await replays.replayDead(query, caller)));
      },
      {
        needs: "write",
        body: Replay,
        response: { 202: Envelope(Replayed, "What was queued."), ...errors(400, 404, 408, 413, 415, 503, 507) },
        detail: REPLAY_DEAD,
      },
    );
}

const OWN = "A key without the scope `admin` can do this to invocations that were made with it.";
const CANCEL = {
  operationId: "cancelInvocation",
  summary: "Cancel a queued or running asynchronous invocation",
  description:
    "A running function gets SIGKILL. The answer comes when it has ended; if another server runs it, after 10 seconds at the latest. " +
    OWN,
};
const RETRY_CALLBACK = {
  operationId: "retryCallback",
  summary: "Send a result to its callback_url again",
  description:
    `Even if it was delivered. It is tried for as long as a new one and keeps its \`webhook-id\`. ` +
    "409 if it is waiting to be sent anyway. " +
    OWN,
};
const REPLAY = {
  operationId: "replayInvocation",
  summary: "Run an invocation again",
  description:
    "Makes a new asynchronous invocation with the request that was kept; synchronous ones keep it if the function has " +
    `\`record_bodies\`. ${OWN}`,
};
const REPLAY_DEAD = {
  operationId: "replayInvocations",
  summary: "Run dead invocations again",
  description:
    "Newest first, each at most once: what was replayed before is left out. Nothing is queued if there is no room for all " +
    `of them; if the room goes to others meanwhile, \`left\` counts those that were not queued. ${OWN}`,
};

/** Throws `forbidden` for a key that is for one function, unless the request is only about that function. */
function checkBulk({ function_id: only }: Caller, functionId: string | undefined): void {
  if (only === null || only === functionId) return;
  throw new AppError("forbidden", `This key is for one function: send "function_id": "${only}"`);
}

function numberOf(attempt: string): number {
  if (/^[1-9]\d{0,5}$/.test(attempt)) return Number(attempt);
  throw new AppError("invalid_request", `Invalid attempt ${quoted(attempt, 40)}: give a number from 1`);
}
