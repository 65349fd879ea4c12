import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { CreateKey, Key, NewKey } from "../../domain/keys.ts";
import type { KeyService } from "../../services/access/keys.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { type Guard, resource } from "../access/guard.ts";

const params = t.Object({
  id: t.String({ description: "The id of the key.", examples: ["c3a1f0de-5b5c-4f0e-8f43-2d1f6f0b7a90"] }),
});

/** `/v1/keys`: who may use the API, and for what. */
export function keysRoutes(guard: Guard, keys: KeyService) {
  return resource(guard, "keys")
    .get("/", () => success(keys.list()), {
      needs: "read",
      long: true,
      response: { 200: Envelope(Type.Array(Key), "The keys, oldest first."), ...errors() },
      detail: {
        operationId: "listKeys",
        summary: "List the keys",
        description: "Includes keys that are revoked or have expired, but not the server's own key.",
      },
    })
    .post(
      "/",
      async ({ body, set }) => {
        const created = await keys.create(body);
        set.status = 201;
        return success(created);
      },
      {
        needs: "write",
        body: CreateKey,
        response: { 201: Envelope(NewKey, "The new key and its token."), ...errors(400, 408, 409, 413, 415, 507) },
        detail: {
          operationId: "createKey",
          summary: "Create a key",
          description: "The token is shown only now: the server keeps only its hash.",
        },
      },
    )
    .get("/:id", ({ params: { id } }) => success(keys.get(id)), {
      needs: "read",
      params,
      response: { 200: Envelope(Key, "The key."), ...errors(404) },
      detail: { operationId: "getKey", summary: "Show a key" },
    })
    .delete("/:id", async ({ params: { id } }) => success(await keys.revoke(id)), {
      needs: "write",
      params,
      response: { 200: Envelope(Key, "The key as it is now."), ...errors(404, 507) },
      detail: {
        operationId: "revokeKey",
        summary: "Revoke a key",
        description:
          "The key is refused from the next request on. Its record stays, with `revoked_at`, until its place is needed for a new key.",
      },
    });
}
