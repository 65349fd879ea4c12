import { CallbackSecret } from "../../domain/calls/callbacks.ts";
import { CALLBACK_ROTATION_MS } from "../../domain/limits.ts";
import type { CallbackSecrets } from "../../services/callbacks/signing-secrets.ts";
import { type Guard, resource } from "../access/guard.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";

const ROTATION_H = CALLBACK_ROTATION_MS / 3_600_000;

/** `/v1/callbacks/secret`: the secret that callbacks are signed with. */
export function callbackSecretRoutes(guard: Guard, secrets: CallbackSecrets) {
  return resource(guard, "callbacks")
    .get("/", async () => success(await secrets.get()), {
      needs: "read",
      response: { 200: Envelope(CallbackSecret, "The secret that verifies callbacks."), ...errors(507) },
      detail: {
        operationId: "getCallbackSecret",
        summary: "Show the secret that callbacks are signed with",
        description: "One secret for the whole server, made when it is first needed.",
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
