import { t } from "elysia";
import { Callback, CallbackSecret } from "../../domain/calls/callbacks.ts";
import { checkFunction } from "../../domain/keys.ts";
import { CALLBACK, CALLBACK_ROTATION_MS } from "../../domain/limits.ts";
import type { CallbackSecrets } from "../../services/callbacks/signing-secrets.ts";
import type { CallbackService } from "../../services/callbacks/callbacks.ts";
import type { InvocationService } from "../../services/calls/invocations.ts";
import { Envelope, errors, success } from "../wire/envelope.ts";
import { type Intake, resource } from "../access/guard.ts";

const params = t.Object({
  id: t.String({
    description: "The id of the invocation.",
    examples: ["7d9f6a0e-4a1c-4f0b-9a53-2f6f8f1f3c55"],
  }),
});
const ROTATION_H = CALLBACK_ROTATION_MS / 3_600_000;

/** `GET /v1/invocations/:id/callback`: whether a result has reached its `callback_url`. */
export function callbackRoutes(callbacks: CallbackService, intake: Intake) {
  return resource({ prefix: "/v1/invocations", tag: "invocations", intake }).get(
    "/:id/callback",
    async ({ params: { id } }) => success(await callbacks.get(id)),
    {
      params,
      response: { 200: Envelope(Callback, "How the result gets to where it is wanted."), ...errors(404) },
      detail: {
        operationId: "getCallback",
        summary: "Show whether a result has reached its callback_url",
        description: "404 for an invocation that has not ended, or has no `callback_url`.",
      },
    },
  );
}

/** `POST /v1/invocations/:id/callback`: sends a result again. */
export function callbackRetryRoutes(
  { callbacks, invocations }: { callbacks: CallbackService; invocations: InvocationService },
  intake: Intake,
) {
  return resource({ prefix: "/v1/invocations", tag: "invocations", intake }).post(
    "/:id/callback",
    async ({ params: { id }, request }) => {
      checkFunction(intake.access(request), (await invocations.get(id)).function_id);
      return success(await callbacks.retry(id));
    },
    {
      params,
      response: { 200: Envelope(Callback, "The callback, which is due now."), ...errors(404, 409, 507) },
      detail: {
        operationId: "retryCallback",
        summary: "Send a result to its callback_url again",
        description: `Also one that was delivered. It has ${CALLBACK.attempts} attempts again, and the same \`webhook-id\`. 409 where it waits to be sent anyway.`,
      },
    },
  );
}

/** `/v1/callbacks/secret`: what callbacks are signed with. */
export function callbackSecretRoutes(secrets: CallbackSecrets, intake: Intake) {
  return resource({ prefix: "/v1/callbacks/secret", tag: "callbacks", intake })
    .get("/", async () => success(await secrets.get()), {
      response: { 200: Envelope(CallbackSecret, "The secret, for those who verify callbacks."), ...errors(507) },
      detail: {
        operationId: "getCallbackSecret",
        summary: "Show what callbacks are signed with",
        description: "One secret for the whole server, made when it is first asked for or needed.",
      },
    })
    .post("/rotate", async () => success(await secrets.rotate()), {
      response: { 200: Envelope(CallbackSecret, "The new secret."), ...errors(507) },
      detail: {
        operationId: "rotateCallbackSecret",
        summary: "Make another secret for callbacks",
        description: `For ${ROTATION_H} hours callbacks are signed with the one before, too, so that receivers can change in their own time. A second rotation ends that for the older one.`,
      },
    });
}
