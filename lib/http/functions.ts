import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { CreateFunction, Function, FunctionWithPool, UpdateFunction } from "../domain/functions.ts";
import type { FunctionService } from "../services/functions.ts";
import { Envelope, errors, success } from "./envelope.ts";
import { type Intake, jsonBody, resource } from "./resource.ts";

const params = t.Object({
  id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
});
const deletion = t.Object(
  {
    cascade: t.Optional(
      t.Union([t.Literal("true"), t.Literal("false")], { description: "Delete its routes, too.", examples: ["true"] }),
    ),
  },
  { additionalProperties: false },
);
const data = Envelope(FunctionWithPool, "The function and its instances.");
const changed = Envelope(Function, "The function as it is now.");

/** `/v1/functions`: images plus their settings. */
export function functionsRoutes(functions: FunctionService, intake: Intake) {
  return resource({ prefix: "/v1/functions", tag: "functions", intake })
    .get("/", () => success(functions.list()), {
      response: { 200: Envelope(Type.Array(Function), "The functions, oldest first."), ...errors() },
      detail: { operationId: "listFunctions", summary: "List the functions" },
    })
    .post(
      "/",
      async ({ body, set }) => {
        const created = await functions.create(body);
        set.status = 201;
        return success(created);
      },
      {
        parse: jsonBody(intake),
        body: CreateFunction,
        response: { 201: Envelope(Function, "The new function."), ...errors(400, 408, 409, 413, 502, 503, 507) },
        detail: {
          operationId: "createFunction",
          summary: "Register an image as a function",
          description:
            "Pulls the image where the engine does not have it. The answer comes when the function can be called.",
        },
      },
    )
    .get("/:id", ({ params: { id } }) => success(functions.getWithPool(id)), {
      params,
      response: { 200: data, ...errors(404) },
      detail: { operationId: "getFunction", summary: "Show a function and its instances" },
    })
    .patch("/:id", async ({ params: { id }, body }) => success(await functions.update(id, body)), {
      params,
      parse: jsonBody(intake),
      body: UpdateFunction,
      response: { 200: changed, ...errors(400, 404, 408, 409, 413, 502, 503, 507) },
      detail: {
        operationId: "updateFunction",
        summary: "Change a function",
        description:
          "What is absent stays as it is; `environment` is replaced as a whole. Running calls end as they began.",
      },
    })
    .delete(
      "/:id",
      async ({ params: { id }, query: { cascade } }) =>
        success(await functions.delete(id, { cascade: cascade === "true" })),
      {
        params,
        query: deletion,
        response: { 200: Envelope(Function, "The function as it was."), ...errors(400, 404, 409, 507) },
        detail: {
          operationId: "deleteFunction",
          summary: "Delete a function",
          description:
            "A function with routes is kept (409) unless `cascade=true`. Running calls end; its records stay.",
        },
      },
    )
    .post("/:id/pull", async ({ params: { id } }) => success(await functions.pull(id)), {
      params,
      response: { 200: changed, ...errors(400, 404, 502, 503, 507) },
      detail: {
        operationId: "pullFunction",
        summary: "Pull the image anew",
        description:
          "Moves the function to what its image reference means now. An image that exists only locally is looked up again.",
      },
    });
}
