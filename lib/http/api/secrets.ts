import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { PutSecret, Secret, SecretName } from "../../domain/secrets.ts";
import type { SecretService } from "../../services/secrets/secrets.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { flag } from "../wire/parameters.ts";
import { type Guard, LARGE_BODY_BYTES, resource } from "../access/guard.ts";

const params = t.Object({
  name: t.String({ description: "The name of the secret.", examples: ["database-password"] }),
});
const deletion = t.Object(
  {
    force: flag("Delete it even if functions use it. Their calls then answer 502, `secret_unavailable`.", "false"),
  },
  { additionalProperties: false },
);

/** `/v1/secrets`: values that only functions can read. */
export function secretsRoutes(guard: Guard, secrets: SecretService) {
  return resource(guard, "secrets", LARGE_BODY_BYTES)
    .get("/", () => success(secrets.list()), {
      needs: "read",
      long: true,
      response: { 200: Envelope(Type.Array(Secret), "The secrets by name, without their values."), ...errors() },
      detail: { operationId: "listSecrets", summary: "List the secrets" },
    })
    .get("/:name", ({ params: { name } }) => success(secrets.get(name)), {
      needs: "read",
      params,
      response: { 200: Envelope(Secret, "The secret, without its value."), ...errors(404) },
      detail: { operationId: "getSecret", summary: "Show a secret and the functions that use it" },
    })
    .put(
      "/:name",
      async ({ params: { name }, body, set }) => {
        const { secret, created } = await secrets.put(name, body);
        set.status = created ? 201 : 200;
        return success(secret);
      },
      {
        needs: "write",
        params: t.Object({ name: SecretName }),
        body: PutSecret,
        response: {
          200: Envelope(Secret, "The secret, whose value was replaced."),
          201: Envelope(Secret, "The new secret."),
          ...errors(400, 408, 409, 413, 415, 507),
        },
        detail: {
          operationId: "putSecret",
          summary: "Create a secret or replace its value",
          description: "Stored encrypted. Functions that use it get the value at their next call.",
        },
      },
    )
    .delete(
      "/:name",
      async ({ params: { name }, query: { force } }) =>
        success(await secrets.delete(name, { force: force === "true" })),
      {
        needs: "write",
        params,
        query: deletion,
        response: { 200: Envelope(Secret, "The secret as it was."), ...errors(400, 404, 409, 507) },
        detail: {
          operationId: "deleteSecret",
          summary: "Delete a secret",
          description: "Answers 409 if functions use it, unless `force=true`.",
        },
      },
    );
}
