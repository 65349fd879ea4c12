import { Elysia } from "elysia";
import type { SecretService } from "../../services/secrets/secrets.ts";
import type { Credentials } from "../access/access.ts";
import type { Guard } from "../access/guard.ts";
import type { CallDeps } from "../calls/invoke.ts";
import { openfaasCallRoutes } from "./calls.ts";
import { Deployments } from "./deployments.ts";
import { deploymentRoutes, SYSTEM_SCOPES, systemRoutes } from "./functions.ts";
import { CALL_CREDENTIALS, OPENFAAS_CREDENTIALS } from "./key.ts";
import { logRoutes, type LogTools } from "./logs.ts";
import { systemSecretDeletion, systemSecretRoutes } from "./secrets.ts";

type MakeGuard = <Need extends string>(
  prefix: string,
  scopes: Guard<Need>["scopes"],
  credentials: Credentials,
) => Guard<Need>;

type Services = ConstructorParameters<typeof Deployments>[0] &
  CallDeps &
  LogTools & { readonly secrets: SecretService; readonly version: string };

/** The API of OpenFaaS, for `faas-cli` and other clients of it. Access is as for `/v1`: nothing here is public. */
export function openfaasRoutes(guardOf: MakeGuard, services: Services) {
  const system = guardOf("/system", SYSTEM_SCOPES, OPENFAAS_CREDENTIALS);
  const invoke = { invoke: ["invoke"] } as const;
  const calls = (prefix: string, isAsync: boolean) =>
    openfaasCallRoutes(guardOf(prefix, invoke, CALL_CREDENTIALS), services.functions, services, { async: isAsync });
  const deployments = new Deployments(services);
  return new Elysia({ normalize: false })
    .use(deploymentRoutes(system, deployments))
    .use(systemRoutes(system, deployments, services.version))
    .use(systemSecretRoutes(system, services.secrets))
    .use(systemSecretDeletion(system, services.secrets))
    .use(logRoutes(system, services))
    .use(calls("/function", false))
    .use(calls("/async-function", true));
}
