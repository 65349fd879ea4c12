import { t } from "elysia";
import {
  Invocation,
  InvocationLogs,
  InvocationPage,
  InvocationStatus,
  parseInvocationQuery,
} from "../../domain/calls/invocations.ts";
import { PAGE, WAIT_MS } from "../../domain/limits.ts";
import { parseWait } from "../../domain/calls/submissions.ts";
import type { ResultService } from "../../services/calls/results.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { type Intake, resource } from "../access/guard.ts";

const params = t.Object({
  id: t.String({
    description: "The id of the invocation: the `X-Request-Id` of its answer.",
    examples: ["7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
  }),
});

const query = t.Object(
  {
    function_id: t.Optional(t.String({ description: "Only those of this function, by its id or name." })),
    status: t.Optional(InvocationStatus),
    since: t.Optional(
      t.String({ description: "Only those created at this time or later.", examples: ["2026-01-31T12:00:00Z"] }),
    ),
    until: t.Optional(
      t.String({ description: "Only those created before this time.", examples: ["2026-02-01T12:00:00+01:00"] }),
    ),
    cursor: t.Optional(t.String({ description: "`next_cursor` of the page before." })),
    // A string: Elysia's own conversion has no message that says which parameter was wrong.
    limit: t.Optional(
      t.String({
        description: `Records a page, from 1 to ${PAGE.max}; ${PAGE.default} unless given.`,
        examples: ["50"],
      }),
    ),
  },
  { additionalProperties: false },
);

const waiting = t.Object(
  {
    wait: t.Optional(
      t.String({ description: `How long to wait for its end, at most ${WAIT_MS / 1000}s.`, examples: ["30s"] }),
    ),
  },
  { additionalProperties: false },
);

/** `/v1/invocations`: the records of calls and what they printed. */
export function invocationsRoutes(invocations: InvocationService, results: ResultService, intake: Intake) {
  return resource({ prefix: "/v1/invocations", tag: "invocations", intake })
    .get("/", async ({ query: raw }) => success(await invocations.list(parseInvocationQuery(raw))), {
      query,
      response: { 200: Envelope(InvocationPage, "A page of invocations, newest first."), ...errors(400) },
      detail: { operationId: "listInvocations", summary: "List the invocations, newest first" },
    })
    .get(
      "/:id",
      async ({ params: { id }, query: { wait }, request }) =>
        success(await (wait === undefined ? invocations.get(id) : results.wait(id, parseWait(wait), request.signal))),
      {
        params,
        query: waiting,
        response: { 200: Envelope(Invocation, "The invocation."), ...errors(400, 404) },
        detail: {
          operationId: "getInvocation",
          summary: "Show an invocation",
          description: "With `wait`, the answer comes when it has ended, or after that time as it is then.",
        },
      },
    )
    .get("/:id/logs", async ({ params: { id } }) => success(await invocations.logs(id)), {
      params,
      response: { 200: Envelope(InvocationLogs, "What the function printed, as far as it was kept."), ...errors(404) },
      detail: { operationId: "getInvocationLogs", summary: "Show what the function printed" },
    });
}
