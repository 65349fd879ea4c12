import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { CreateRoute, Route, UpdateRoute } from "../domain/routes.ts";
import type { RouteService } from "../services/routes.ts";
import type { Access } from "./access.ts";
import { Envelope, errors, success } from "./envelope.ts";
import { resource } from "./resource.ts";

const params = t.Object({ id: t.String({ description: "The id of the route." }) });
const data = Envelope(Route);

/** `/v1/routes`: URL paths below `/r` that lead to functions. */
export function routesRoutes(routes: RouteService, access: Access) {
  return resource({ prefix: "/v1/routes", tag: "routes", access })
    .get("/", () => success(routes.list()), {
      response: { 200: Envelope(Type.Array(Route)), ...errors() },
      detail: { operationId: "listRoutes", summary: "List the routes" },
    })
    .post("/", ({ body }) => success(routes.create(body)), {
      body: CreateRoute,
      response: { 200: data, ...errors(409, 413, 507) },
      detail: { operationId: "createRoute", summary: "Give a function a path below /r" },
    })
    .get("/:id", ({ params: { id } }) => success(routes.get(id)), {
      params,
      response: { 200: data, ...errors() },
      detail: { operationId: "getRoute", summary: "Show a route" },
    })
    .patch("/:id", ({ params: { id }, body }) => success(routes.update(id, body)), {
      params,
      body: UpdateRoute,
      response: { 200: data, ...errors(409, 413, 507) },
      detail: { operationId: "updateRoute", summary: "Change a route's path or function" },
    })
    .delete("/:id", ({ params: { id } }) => success(routes.delete(id)), {
      params,
      response: { 200: data, ...errors(507) },
      detail: { operationId: "deleteRoute", summary: "Delete a route" },
    });
}
