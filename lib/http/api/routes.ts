import { t } from "elysia";
import { CreateRoute, Route, UpdateRoute } from "../../domain/routes/routes.ts";
import { mapInSlices } from "../../domain/concurrency.ts";
import { cursorOf, parsePageQuery } from "../../domain/functions/pages.ts";
import type { RouteService } from "../../services/functions/routes.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { inSlices } from "../sliced/json.ts";
import { ListOrPage, PageParameters } from "../wire/pages.ts";
import { type Guard, resource } from "../access/guard.ts";

const params = t.Object({
  id: t.String({ description: "The id of the route.", examples: ["5d1c7c0e-8a53-44c5-b7a3-0f4f7c1f0e0a"] }),
});
const data = Envelope(Route, "The route.");

/** Returns the name by which a request has reached the API. */
function hostOf({ headers }: Request): string {
  return headers.get("host") ?? "";
}

/** `/v1/routes`: URL paths below `/r`, and host names, that lead to functions. */
export function routesRoutes(guard: Guard, routes: RouteService) {
  return resource(guard, "routes")
    .get(
      "/",
      async ({ query, request }) => {
        const asked = parsePageQuery(query);
        const each = (records: readonly unknown[]) => mapInSlices(records, (record) => guard.shown(request, record));
        if (asked === undefined) return inSlices(success(await each(await routes.list())));
        const page = await routes.page(asked);
        return inSlices(success({ routes: await each(page.records), next_cursor: cursorOf(page) }));
      },
      {
        needs: "read",
        long: true,
        query: PageParameters,
        response: { 200: Envelope(ListOrPage(Route, "routes"), "The routes, oldest first."), ...errors(400) },
        detail: {
          operationId: "listRoutes",
          summary: "List the routes",
          description: 'All of them; with `limit` or `cursor`, a page: `{"routes": [...], "next_cursor": ...}`.',
        },
      },
    )
    .post("/", async ({ body, request }) => success(await routes.create(body, hostOf(request))), {
      needs: "write",
      body: CreateRoute,
      response: { 200: Envelope(Route, "The new route."), ...errors(400, 404, 408, 409, 413, 415, 507) },
      detail: { operationId: "createRoute", summary: "Create a route to a function" },
    })
    .get("/:id", ({ params: { id }, request }) => success(guard.shown(request, routes.get(id))), {
      needs: "read",
      params,
      response: { 200: data, ...errors(404) },
      detail: { operationId: "getRoute", summary: "Show a route" },
    })
    .patch(
      "/:id",
      async ({ params: { id }, body, request }) => success(await routes.update(id, body, hostOf(request))),
      {
        needs: "write",
        params,
        body: UpdateRoute,
        response: { 200: Envelope(Route, "The route as it is now."), ...errors(400, 404, 408, 409, 413, 415, 507) },
        detail: { operationId: "updateRoute", summary: "Change a route" },
      },
    )
    .delete("/:id", async ({ params: { id } }) => success(await routes.delete(id)), {
      needs: "write",
      params,
      response: { 200: Envelope(Route, "The route as it was."), ...errors(404, 507) },
      detail: { operationId: "deleteRoute", summary: "Delete a route" },
    });
}
