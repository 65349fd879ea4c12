import { Elysia, t } from "elysia";
import { mapInSlices } from "../../domain/concurrency.ts";
import { Boot } from "../../domain/calls/boots.ts";
import {
  ChangedFunction,
  CreateFunction,
  Function,
  FunctionWithPool,
  UpdateFunction,
} from "../../domain/functions/functions.ts";
import { cursorOf, parsePageQuery } from "../../domain/functions/pages.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import { inSlices } from "../sliced/json.ts";
import { COMPLETE, Envelope, errors, JSON_ANSWER, success } from "../wire/envelope.ts";
import { ListOrPage, SearchParameters } from "../wire/pages.ts";
import { flag } from "../wire/parameters.ts";
import { FunctionAnswers } from "./functions/answers.ts";
import { answerPull, PULL_EVENTS_DETAIL, type PullEventTools } from "./pull-events.ts";
import { type Guard, LARGE_BODY_BYTES, resource } from "../access/guard.ts";

const params = t.Object({
  id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
});
const deletion = t.Object(
  {
    cascade: flag("Also delete its routes, and remove it from the `on_success` and `on_failure` of other functions."),
  },
  { additionalProperties: false },
);
const data = Envelope(FunctionWithPool, "The function and its instances.");
const changed = Envelope(ChangedFunction, "The function as it is now.");
const boot = {
  operationId: "getLastBoot",
  summary: "Show how a function booted last",
  description:
    "Only functions of the contract `http` boot. Answers 404 if this one has not since the server's start: boots are not stored.",
};
const creation = {
  operationId: "createFunction",
  summary: "Register an image as a function",
  description:
    "Pulls the image if the engine does not have it, and answers when the function can be called: one of the contract `http` when it listens, " +
    "or with the reason why it does not in `warnings`, unless `probe` is false. An image that ended in its trial is told of there, too. With `Accept: text/event-stream` the answer begins with the pull " +
    "and reports its progress.",
  responses: PULL_EVENTS_DETAIL,
};
const change = {
  operationId: "updateFunction",
  summary: "Change a function",
  description:
    "Fields that are absent stay as they are; `environment` is replaced as a whole. Running calls are not affected. `probe` as at registration.",
  responses: PULL_EVENTS_DETAIL,
};
const pull = {
  operationId: "pullFunction",
  summary: "Pull the image again",
  description:
    "Updates the function to the image that its reference names now. An image that exists only locally is looked up again.",
  responses: PULL_EVENTS_DETAIL,
};

/** `/v1/functions`: images plus their settings. */
export function functionsRoutes(guard: Guard, functions: FunctionService, tools: PullEventTools) {
  return new Elysia({ normalize: false })
    .use(allRoutes(guard, functions, tools))
    .use(oneRoutes(guard, functions, tools));
}

/** All functions: their list, and a new one. */
function allRoutes(guard: Guard, functions: FunctionService, tools: PullEventTools) {
  const { shownJson: shown, follow } = guard;
  return resource(guard, "functions", LARGE_BODY_BYTES)
    .get(
      "/",
      async ({ query, request }) => {
        const asked = parsePageQuery(query);
        const each = (records: readonly unknown[]) => mapInSlices(records, (record) => guard.shown(request, record));
        if (asked === undefined) return inSlices(success(await each(await functions.list())));
        const page = await functions.page(asked);
        return inSlices(success({ functions: await each(page.records), next_cursor: cursorOf(page) }));
      },
      {
        needs: "read",
        long: true,
        query: SearchParameters,
        response: { 200: Envelope(ListOrPage(Function, "functions"), "The functions, oldest first."), ...errors(400) },
        detail: {
          operationId: "listFunctions",
          summary: "List the functions",
          description:
            'All of them; with `limit`, `cursor` or `search`, a page: `{"functions": [...], "next_cursor": ...}`.',
        },
      },
    )
    .post(
      "/",
      ({ body, set, request }) =>
        answerPull(tools, { set, request, status: 201, shown, follow }, (watcher) => functions.create(body, watcher)),
      {
        needs: "write",
        body: CreateFunction,
        response: {
          201: Envelope(ChangedFunction, "The new function."),
          ...errors(400, 408, 409, 413, 415, 502, 503, 507),
        },
        detail: creation,
      },
    );
}

/**
 * One function. Its answer is a text that is not checked again: most of it was made for an earlier answer. Elysia accepts a
 * Response in place of the data in the schema; its types do not. A handler that ends in `return new` is not taken for
 * an asynchronous one, which would cost three turns.
 */
function oneRoutes(guard: Guard, functions: FunctionService, tools: PullEventTools) {
  const { shownJson: shown, follow } = guard;
  const answers = new FunctionAnswers();
  return resource(guard, "functions", LARGE_BODY_BYTES)
    .get(
      "/:id",
      ({ params: { id }, request, set }) => {
        const fn = functions.get(id);
        const text = answers.of(fn, shown(request, fn), functions.poolsOf(fn));
        const headers = { ...JSON_ANSWER.headers, "x-request-id": tools.requestId(set) };
        set.headers = COMPLETE;
        return new Response(text, { headers }) as never;
      },
      {
        needs: "read",
        params,
        response: { 200: data, ...errors(404) },
        detail: { operationId: "getFunction", summary: "Show a function and its instances" },
      },
    )
    .get("/:id/boot", ({ params: { id } }) => success(functions.lastBootOf(id)), {
      needs: "read",
      params,
      response: { 200: Envelope(Boot, "The last boot."), ...errors(404) },
      detail: boot,
    })
    .patch(
      "/:id",
      ({ params: { id }, body, set, request }) =>
        answerPull(tools, { set, request, status: 200, shown, follow }, (watcher) =>
          functions.update(id, body, watcher),
        ),
      {
        needs: "write",
        params,
        body: UpdateFunction,
        response: { 200: changed, ...errors(400, 404, 408, 409, 413, 415, 502, 503, 507) },
        detail: change,
      },
    )
    .delete(
      "/:id",
      async ({ params: { id }, query: { cascade } }) =>
        success(await functions.delete(id, { cascade: cascade === "true" })),
      {
        needs: "write",
        params,
        query: deletion,
        response: { 200: Envelope(Function, "The function as it was."), ...errors(400, 404, 409, 507) },
        detail: {
          operationId: "deleteFunction",
          summary: "Delete a function",
          description:
            "Answers 409 if the function has routes, or others name it as `on_success` or `on_failure`, unless `cascade=true`. Running calls are finished; the records stay.",
        },
      },
    )
    .post(
      "/:id/pull",
      ({ params: { id }, set, request }) =>
        answerPull(tools, { set, request, status: 200, shown, follow }, (watcher) => functions.pull(id, watcher)),
      {
        needs: "write",
        params,
        response: { 200: changed, ...errors(400, 404, 502, 503, 507) },
        detail: pull,
      },
    );
}
