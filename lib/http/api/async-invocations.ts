import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import type { Clock } from "../../clock.ts";
import { Attempt } from "../../domain/calls/attempts.ts";
import { AppError } from "../../domain/errors.ts";
import { Invocation, InvocationLogs } from "../../domain/calls/invocations.ts";
import { checkFunction } from "../../domain/keys.ts";
import { REPLAYS } from "../../domain/limits.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import type { Queue } from "../../services/work/queue.ts";
import type { ReplayService } from "../../services/work/replays.ts";
import { answerResponse } from "../calls/answer.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import type { RequestId } from "../wire/errors.ts";
import { invocationEvents } from "./invocation-events.ts";
import { type Intake, jsonBody, resource } from "../access/guard.ts";

const id = t.String({ description: "The id of the invocation.", examples: ["7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"] });
const params = t.Object({ id });
const attemptParams = t.Object({
  id,
  attempt: t.String({ description: "The number of the attempt, from 1.", examples: ["1"] }),
});

const Replay = Type.Object(
  {
    status: Type.Literal("dead", { description: "Only dead ones can be replayed in bulk.", examples: ["dead"] }),
    function_id: Type.Optional(
      Type.String({ description: "Only those of this function, by its id or name.", examples: ["hello-world"] }),
    ),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: REPLAYS.max, description: "At most so many.", examples: [REPLAYS.default] }),
    ),
  },
  { additionalProperties: false },
);

const Replayed = Type.Object({
  invocations: Type.Array(Invocation, { description: "The new ones." }),
  left: Type.Integer({ description: "Dead ones that have not been replayed yet.", examples: [0] }),
});

/** `/v1/invocations/:id/...`: what follows from an asynchronous call, to be seen. */
export function resultRoutes(
  results: ResultService,
  { clock, requestId }: { clock: Clock; requestId: RequestId },
  intake: Intake,
) {
  return resource({ prefix: "/v1/invocations", tag: "invocations", intake })
    .get(
      "/:id/result",
      async ({ params: { id }, request, set }) =>
        answerResponse(await results.result(id), request.headers.get("accept"), requestId(set)),
      {
        params,
        response: errors(404, 409),
        detail: {
          operationId: "getInvocationResult",
          summary: "Get the function's own answer",
          description:
            "As its caller would have got it, had he waited: with its status, headers and body. 409 until it has ended.",
        },
      },
    )
    .get("/:id/events", ({ params: { id } }) => invocationEvents(results, clock, id), {
      params,
      response: errors(404),
      detail: {
        operationId: "followInvocation",
        summary: "Follow an invocation",
        description:
          "Server-sent events: `state` with the record whenever it changes, `log` with what the function prints as it comes, and `end`.",
      },
    })
    .get("/:id/attempts", async ({ params: { id } }) => success(await results.attempts(id)), {
      params,
      response: { 200: Envelope(Type.Array(Attempt), "The attempts, the first one first."), ...errors(404) },
      detail: { operationId: "listAttempts", summary: "List the attempts at an asynchronous invocation" },
    })
    .get(
      "/:id/attempts/:attempt/logs",
      async ({ params: { id, attempt } }) => success(await results.attemptLogs(id, numberOf(attempt))),
      {
        params: attemptParams,
        response: { 200: Envelope(InvocationLogs, "What it printed, as far as it was kept."), ...errors(400, 404) },
        detail: { operationId: "getAttemptLogs", summary: "Show what the function printed in an attempt" },
      },
    );
}

/** `POST /v1/invocations/...`: what is done to asynchronous calls after they were made. */
export function workRoutes(
  services: { queue: Queue; replays: ReplayService; invocations: InvocationService },
  intake: Intake,
) {
  const { queue, replays, invocations } = services;
  const mine = async (request: Request, id: string) => {
    const caller = intake.access(request);
    checkFunction(caller, (await invocations.get(id)).function_id);
  };
  return resource({ prefix: "/v1/invocations", tag: "invocations", intake })
    .post(
      "/:id/cancel",
      async ({ params: { id }, request }) => {
        await mine(request, id);
        return success(await queue.cancel(id));
      },
      {
        params,
        response: { 200: Envelope(Invocation, "The invocation as it is now."), ...errors(404, 409, 507) },
        detail: {
          operationId: "cancelInvocation",
          summary: "Cancel a queued or running asynchronous invocation",
          description: "A running function gets SIGKILL. The answer comes when it has ended.",
        },
      },
    )
    .post(
      "/:id/replay",
      async ({ params: { id }, request, set }) => {
        await mine(request, id);
        const replay = await replays.replay(id);
        set.status = 202;
        set.headers["location"] = `/v1/invocations/${replay.id}`;
        return success(replay);
      },
      {
        params,
        response: { 202: Envelope(Invocation, "The new invocation, queued."), ...errors(404, 503, 507) },
        detail: {
          operationId: "replayInvocation",
          summary: "Run an invocation again",
          description:
            "A new asynchronous invocation with the request that was kept; synchronous ones keep it with `record_bodies`.",
        },
      },
    );
}

/** `POST /v1/invocations/replay`: everything that is dead, again. */
export function replayRoutes(replays: ReplayService, intake: Intake) {
  return resource({ prefix: "/v1/invocations", tag: "invocations", intake }).post(
    "/replay",
    async ({ body: { function_id, limit }, request, set }) => {
      const { function_id: only } = intake.access(request);
      if (only !== null && only !== function_id)
        throw new AppError("forbidden", `This key is for one function: send "function_id": "${only}"`);
      set.status = 202;
      return success(
        await replays.replayDead({
          ...(function_id !== undefined && { function_id }),
          ...(limit !== undefined && { limit }),
        }),
      );
    },
    {
      parse: jsonBody(intake),
      body: Replay,
      response: { 202: Envelope(Replayed, "What was queued."), ...errors(400, 404, 408, 413, 503, 507) },
      detail: {
        operationId: "replayInvocations",
        summary: "Run dead invocations again",
        description: "The newest first, each at most once: what was replayed before is left out.",
      },
    },
  );
}

function numberOf(attempt: string): number {
  if (/^[1-9]\d{0,5}$/.test(attempt)) return Number(attempt);
  throw new AppError(
    "invalid_request",
    `Invalid attempt ${JSON.stringify(attempt.slice(0, 40))}: give a number from 1`,
  );
}
