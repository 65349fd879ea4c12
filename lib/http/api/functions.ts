import { Elysia, t } from "elysia";
import { CreateFunction, Function, FunctionWithPool, UpdateFunction } from "../../domain/functions/functions.ts";
import { mapInSlices } from "../../domain/concurrency.ts";
import { cursorOf, parsePageQuery } from "../../domain/functions/pages.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { inSlices } from "../sliced/json.ts";
import { ListOrPage, PageParameters } from "../wire/pages.ts";
import { flag } from "../wire/flag.ts";
import { wantsEvents } from "../wire/event-stream.ts";
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
const changed = Envelope(Function, "The function as it is now.");
const creation = {
  operationId: "createFunction",
  summary: "Register an image as a function",
  description:
    "Pulls the image if the engine does not have it, and answers when the function can be called. With " +
    "`Accept: text/event-stream` the answer begins with the pull and reports its progress.",
  responses: PULL_EVENTS_DETAIL,
};
const change = {
  operationId: "updateFunction",
  summary: "Change a function",
  description:
    "Fields that are absent stay as they are; `environment` is replaced as a whole. Running calls are not affected.",
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
  return resource(guard, "functions", LARGE_BODY_BYTES)
    .get(
      "/",
      async ({ query, request }) => {
        const asked = parsePageQuery(query);
        const shown = (records: readonly unknown[]) => mapInSlices(records, (record) => guard.shown(request, record));
        if (asked === undefined) return inSlices(success(await shown(await functions.list())));
        const page = await functions.page(asked);
        return inSlices(success({ functions: await shown(page.records), next_cursor: cursorOf(page) }));
      },
      {
        needs: "read",
        long: true,
        query: PageParameters,
        response: { 200: Envelope(ListOrPage(Function, "functions"), "The functions, oldest first."), ...errors(400) },
        detail: {
          operationId: "listFunctions",
          summary: "List the functions",
          description: 'All of them; with `limit` or `cursor`, a page: `{"functions": [...], "next_cursor": ...}`.',
        },
      },
    )
    .post(
      "/",
      async ({ body, set, request }) => {
        const created = await answerPull(tools, { set, request }, (watcher) => functions.create(body, watcher));
        if (!wantsEvents(request)) set.status = 201;
        return created;
      },
      {
        needs: "write",
        long: true,
        body: CreateFunction,
        response: { 201: Envelope(Function, "The new function."), ...errors(400, 408, 409, 413, 415, 502, 503, 507) },
        detail: creation,
      },
    );
}

/** One function. */
function oneRoutes(guard: Guard, functions: FunctionService, tools: PullEventTools) {
  return resource(guard, "functions", LARGE_BODY_BYTES)
    .get("/:id", ({ params: { id }, request }) => success(guard.shown(request, functions.getWithPool(id))), {
      needs: "read",
      params,
      response: { 200: data, ...errors(404) },
      detail: { operationId: "getFunction", summary: "Show a function and its instances" },
    })
    .patch(
      "/:id",
      ({ params: { id }, body, set, request }) =>
        answerPull(tools, { set, request }, (watcher) => functions.update(id, body, watcher)),
      {
        needs: "write",
        long: true,
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
        answerPull(tools, { set, request }, (watcher) => functions.pull(id, watcher)),
      {
        needs: "write",
        long: true,
        params,
        response: { 200: changed, ...errors(400, 404, 502, 503, 507) },
        detail: pull,
      },
    );
}
