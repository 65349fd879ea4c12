import { t } from "elysia";
import { Function } from "../../domain/functions/functions.ts";
import { PAGE, VERSIONS } from "../../domain/limits.ts";
import { FunctionVersion, parseVersionQuery, Rollback, VersionPage } from "../../domain/functions/versions.ts";
import type { VersionService } from "../../services/functions/versions.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { wholeNumber } from "../wire/parameters.ts";
import { type Guard, resource } from "../access/guard.ts";

const id = t.String({ description: "The id or the name of the function.", examples: ["hello-world"] });
const version = wholeNumber({ description: "The number of the version.", minimum: 1, example: 1 });
const params = t.Object({ id });
const query = t.Object(
  {
    cursor: t.Optional(t.String({ description: "`next_cursor` of the page before.", examples: ["12"] })),
    limit: t.Optional(
      wholeNumber({
        description: `Versions per page; ${PAGE.default} by default.`,
        minimum: 1,
        maximum: PAGE.max,
        example: 50,
      }),
    ),
  },
  { additionalProperties: false },
);

/** `/v1/functions/:id/versions` and `/v1/functions/:id/rollback`: earlier states of a function, and the way back. */
export function versionsRoutes(guard: Guard, versions: VersionService) {
  return resource(guard, "versions")
    .get(
      "/:id/versions",
      async ({ params: { id }, query: raw, request }) =>
        success(guard.shown(request, await versions.list(id, parseVersionQuery(raw)))),
      {
        needs: "read",
        long: true,
        params,
        query,
        response: { 200: Envelope(VersionPage, "A page of versions, newest first."), ...errors(400, 404) },
        detail: {
          operationId: "listVersions",
          summary: "List the versions of a function",
          description:
            "Every change of a function's image, environment or settings makes a version; a change of its name does not. " +
            `The last ${VERSIONS} are kept, and those that routes name.`,
        },
      },
    )
    .get(
      "/:id/versions/:version",
      async ({ params: { id, version }, request }) => success(guard.shown(request, await versions.get(id, version))),
      {
        needs: "read",
        params: t.Object({ id, version }),
        response: { 200: Envelope(FunctionVersion, "The version."), ...errors(404) },
        detail: { operationId: "getVersion", summary: "Show a version of a function" },
      },
    )
    .post("/:id/rollback", async ({ params: { id }, body }) => success(await versions.rollback(id, body.version)), {
      needs: "write",
      params,
      body: Rollback,
      response: {
        200: Envelope(Function, "The function as it is now."),
        ...errors(400, 404, 408, 413, 415, 502, 503, 507),
      },
      detail: {
        operationId: "rollbackFunction",
        summary: "Go back to a version",
        description:
          "Makes a new version with the image, environment and settings of an old one; versions are never rewritten. " +
          "An image that was removed from the engine is pulled again by its digest. Running calls are not affected. " +
          "If the function is in that state already, no version is made.",
      },
    });
}
