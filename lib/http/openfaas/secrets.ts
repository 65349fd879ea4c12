import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { AppError } from "../../domain/errors.ts";
import { checkNamespace, NAMESPACE } from "../../domain/openfaas/deployment.ts";
import { notFound, quoted } from "../../domain/quoted.ts";
import { SecretName } from "../../domain/secrets.ts";
import type { SecretService } from "../../services/secrets/secrets.ts";
import { type Guard, LARGE_BODY_BYTES, resource } from "../access/guard.ts";
import { bare, failing, failingWithBody, OPENFAAS_TAG } from "./documented.ts";
import { namespaced, type SYSTEM_SCOPES } from "./functions.ts";

const namespace = Type.Optional(
  Type.String({ description: `\`${NAMESPACE}\` is the only one.`, examples: [NAMESPACE] }),
);
const Named = Type.Object({ name: SecretName, namespace });
const Given = Type.Object({
  ...Named.properties,
  // Kept out of messages and logs, even if it is invalid.
  value: Type.Optional(Type.String({ writeOnly: true, description: "The value.", examples: ["s3cret"] })),
  rawValue: Type.Optional(
    Type.String({
      writeOnly: true,
      description: "The same in base64; `value` is looked at first.",
      examples: ["czNjcmV0"],
    }),
  ),
});
type Given = (typeof Given)["static"];

const Listed = Type.Object({ name: SecretName, namespace: Type.String({ examples: [NAMESPACE] }) });

/** `/system/secrets`: their values are never shown. */
export function systemSecretRoutes(guard: Guard<keyof typeof SYSTEM_SCOPES>, secrets: SecretService) {
  return resource(guard, OPENFAAS_TAG, LARGE_BODY_BYTES)
    .get(
      "/secrets",
      ({ query }) => {
        checkNamespace(query.namespace);
        return secrets.list().map(({ name }) => ({ name, namespace: NAMESPACE }));
      },
      {
        needs: "read",
        long: true,
        query: t.Object(namespaced.properties),
        response: { 200: Type.Array(Listed, { description: "The names of the secrets." }) },
        detail: { operationId: "openfaasListSecrets", summary: "List the secrets", responses: failing(400, 404) },
      },
    )
    .post(
      "/secrets",
      async ({ body }) => {
        checkNamespace(body.namespace);
        if (has(secrets, body.name)) {
          const message = `There is a secret ${quoted(body.name)} already: send the value with PUT`;
          throw new AppError("conflict", message);
        }
        await secrets.put(body.name, { value: valueOf(body) });
        return new Response(null, { status: 201 });
      },
      {
        needs: "write",
        body: Given,
        detail: {
          operationId: "openfaasCreateSecret",
          summary: "Create a secret",
          responses: { ...bare(201), ...failingWithBody(404, 409, 507) },
        },
      },
    )
    .put(
      "/secrets",
      async ({ body }) => {
        checkNamespace(body.namespace);
        if (!has(secrets, body.name)) throw notFound("secret", body.name);
        await secrets.put(body.name, { value: valueOf(body) });
        return new Response(null, { status: 202 });
      },
      {
        needs: "write",
        body: Given,
        detail: {
          operationId: "openfaasUpdateSecret",
          summary: "Give a secret another value",
          responses: { ...bare(202), ...failingWithBody(404, 409, 507) },
        },
      },
    );
}

/** Deletes a secret that no function uses. */
export function systemSecretDeletion(guard: Guard<keyof typeof SYSTEM_SCOPES>, secrets: SecretService) {
  return resource(guard, OPENFAAS_TAG).delete(
    "/secrets",
    async ({ body: { name, namespace } }) => {
      checkNamespace(namespace);
      await secrets.delete(name, { force: false });
      return new Response(null, { status: 202 });
    },
    {
      needs: "write",
      body: Named,
      detail: {
        operationId: "openfaasDeleteSecret",
        summary: "Delete a secret",
        description: "Answers 409 if functions use it.",
        responses: { ...bare(202), ...failingWithBody(404, 409, 507) },
      },
    },
  );
}

function has(secrets: SecretService, name: string): boolean {
  return secrets.list().some((secret) => secret.name === name);
}

/** Returns the value of a secret. Throws `invalid_request` for one that is not text. */
function valueOf({ value, rawValue = "" }: Given): string {
  if (value !== undefined && value !== "") return value;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(rawValue, "base64"));
  } catch (error) {
    const message = 'Invalid "rawValue": it is not UTF-8, and values are text; encode it, for example in base64';
    throw new AppError("invalid_request", message, { cause: error });
  }
}
