import { CallbackSecret } from "../../domain/calls/callbacks.ts";
import { t } from "elysia";
import { CALLBACK_ROTATION_MS } from "../../domain/limits.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import type { CallbackSecrets } from "../../services/callbacks/signing-secrets.ts";
import { type Guard, resource } from "../access/guard.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";

const ROTATION_H = CALLBACK_ROTATION_MS / 3_600_000;

const params = t.Object({
  id: t.String({ description: "The id or the name of the function.", examples: ["hello-world"] }),
});

/** `/v1/functions/:id/callback-secret`: the secret for receivers of one function's callbacks. */
export function functionSecretRoutes(
  guard: Guard<"secret">,
  { functions, callbackSecrets }: { readonly functions: FunctionService; readonly callbackSecrets: CallbackSecrets },
) {
  return resource(guard, "callbacks").get(
    "/:id/callback-secret",
    async ({ params: { id } }) => success(await callbackSecrets.getFor(functions.get(id).id)),
    {
      needs: "secret",
      params,
      response: {
        200: Envelope(CallbackSecret, "The secret that verifies this function's callbacks."),
        ...errors(404, 507),
      },
      detail: {
        operationId: "getFunctionCallbackSecret",
        summary: "Show the secret that a function's callbacks are signed with",
        description:
          "Give it to the receivers of this function's callbacks. It is derived from the server's own secret: a rotation of " +
          "that changes it, too, and it tells nothing about the secrets of other functions.",
      },
    },
  );
}

/** `/v1/callbacks/secret`: the server's own secret, from which those of functions are derived. */
export function callbackSecretRoutes(guard: Guard, secrets: CallbackSecrets) {
  return resource(guard, "callbacks")
    .get("/", async () => success(await secrets.get()), {
      needs: "read",
      response: { 200: Envelope(CallbackSecret, "The secret that verifies callbacks."), ...errors(507) },
      detail: {
        operationId: "getCallbackSecret",
        summary: "Show the server's secret for callbacks",
        description:
          "Made when it is first needed. The secrets of functions are derived from it, and all callbacks are also signed " +
          "with it: whoever has it can forge those of every function, so give receivers their function's own.",
      },
    })
    .post("/rotate", async () => success(await secrets.rotate()), {
      needs: "write",
      response: { 200: Envelope(CallbackSecret, "The new secret."), ...errors(507) },
      detail: {
        operationId: "rotateCallbackSecret",
        summary: "Replace the secret for callbacks",
        description:
          `For ${ROTATION_H} hours callbacks are signed with both the old and the new secret, so that receivers can change ` +
          "in their own time. A second rotation ends that for the older one.",
      },
    });
}
