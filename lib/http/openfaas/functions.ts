import { Type } from "@sinclair/typebox";
import { t } from "elysia";
import { AppError } from "../../domain/errors.ts";
import { checkNamespace, FunctionDeployment, NAMESPACE } from "../../domain/openfaas/deployment.ts";
import { FunctionStatus } from "../../domain/openfaas/status.ts";
import { hasScope, SCOPES } from "../../domain/keys.ts";
import { type Guard, LARGE_BODY_BYTES, resource } from "../access/guard.ts";
import { inSlices } from "../sliced/json.ts";
import { STATUS_OF } from "../wire/status-of.ts";
import type { Deployments } from "./deployments.ts";
import { bare, failing, failingWithBody, OPENFAAS_TAG } from "./documented.ts";
import { functionNamed } from "./names.ts";

export const namespaced = t.Object({
  namespace: t.Optional(t.String({ description: `\`${NAMESPACE}\` is the only one.`, examples: [NAMESPACE] })),
});
const usage = t.Object({
  ...namespaced.properties,
  usage: t.Optional(t.String({ description: "Ignored: records of calls have what each has used." })),
});
const params = t.Object({ name: t.String({ description: "The name of the function.", examples: ["figlet"] }) });
const Deletion = Type.Object({
  functionName: Type.String({ description: "The name of the function.", examples: ["figlet"] }),
  namespace: Type.Optional(Type.String({ examples: [NAMESPACE] })),
});
const Scaling = Type.Object({
  serviceName: Type.Optional(Type.String({ examples: ["figlet"] })),
  replicas: Type.Integer({ minimum: 0, description: "How many instances are kept ready.", examples: [1] }),
  namespace: Type.Optional(Type.String({ examples: [NAMESPACE] })),
});
const Info = Type.Object(
  {
    arch: Type.String({ examples: ["x86_64"] }),
    provider: Type.Object({
      provider: Type.String({ examples: ["slipway"] }),
      orchestration: Type.String({ examples: ["docker"] }),
      version: Type.Object({ release: Type.String(), sha: Type.String() }),
    }),
    version: Type.Object({ release: Type.String(), sha: Type.String() }),
  },
  { description: "The server." },
);

/** An answer without a body: clients only look at its status. */
function accepted(): Response {
  return new Response(null, { status: 202 });
}

const ACCEPTED = bare(202, "Done; or, if it takes longer than 45 s, under way.");

/** The scopes for `/system`: the same as for `/v1`. */
export const SYSTEM_SCOPES = { read: ["deploy", "read"], logs: ["read"], write: ["deploy"], any: SCOPES } as const;
type SystemGuard = Guard<keyof typeof SYSTEM_SCOPES>;

/** `/system/functions`: functions as OpenFaaS's clients deploy them, and their list. */
export function deploymentRoutes(guard: SystemGuard, deployments: Deployments) {
  // A second entry of the audit log, after that of the 202.
  const failedLate = (request: Request) => (error: unknown) =>
    guard.changed(request, STATUS_OF[error instanceof AppError ? error.reason : "internal"]);
  return resource(guard, OPENFAAS_TAG, LARGE_BODY_BYTES)
    .get(
      "/functions",
      async ({ query: { namespace }, request }) => {
        checkNamespace(namespace);
        return inSlices(await deployments.list({ counted: hasScope(guard.callerOf(request), ["read"]) }));
      },
      {
        needs: "read",
        long: true,
        query: namespaced,
        response: { 200: Type.Array(FunctionStatus, { description: "The functions, oldest first." }) },
        detail: { operationId: "openfaasListFunctions", summary: "List the functions", responses: failing(400, 404) },
      },
    )
    .post(
      "/functions",
      async ({ body, request }) => {
        checkNamespace(body.namespace);
        await deployments.create(body, failedLate(request));
        return accepted();
      },
      {
        needs: "write",
        body: FunctionDeployment,
        detail: {
          operationId: "openfaasDeployFunction",
          summary: "Deploy a new function",
          responses: { ...ACCEPTED, ...failingWithBody(404, 409, 502, 503, 507) },
        },
      },
    )
    .put(
      "/functions",
      async ({ body, request }) => {
        checkNamespace(body.namespace);
        await deployments.update(body, failedLate(request));
        return accepted();
      },
      {
        needs: "write",
        body: FunctionDeployment,
        detail: {
          operationId: "openfaasUpdateFunction",
          summary: "Deploy a function again",
          description:
            "Answers 404 if there is none of that name, whereupon `faas-cli` sends the same with `POST`. Settings that OpenFaaS does not know stay as they are.",
          responses: { ...ACCEPTED, ...failingWithBody(404, 409, 502, 503, 507) },
        },
      },
    );
}

/** The routes of one function under `/system`, of all of them, and of the server. */
export function systemRoutes(guard: SystemGuard, deployments: Deployments, version: string) {
  return resource(guard, OPENFAAS_TAG)
    .delete(
      "/functions",
      async ({ body: { functionName, namespace } }) => {
        checkNamespace(namespace);
        await deployments.delete(functionNamed(functionName));
        return accepted();
      },
      {
        needs: "write",
        body: Deletion,
        detail: {
          operationId: "openfaasDeleteFunction",
          summary: "Delete a function",
          description: "Answers 409 if it has routes, or others name it as `on_success` or `on_failure`.",
          responses: { ...ACCEPTED, ...failingWithBody(404, 409, 507) },
        },
      },
    )
    .get(
      "/function/:name",
      async ({ params: { name }, query: { namespace }, request }) => {
        checkNamespace(namespace);
        const counted = hasScope(guard.callerOf(request), ["read"]);
        return deployments.get(functionNamed(name), { counted });
      },
      {
        needs: "read",
        params,
        query: usage,
        response: { 200: FunctionStatus },
        detail: { operationId: "openfaasGetFunction", summary: "Show a function", responses: failing(400, 404) },
      },
    )
    .post(
      "/scale-function/:name",
      async ({ params: { name }, body: { replicas, namespace, serviceName = name } }) => {
        checkNamespace(namespace);
        if (functionNamed(serviceName) !== functionNamed(name))
          throw new AppError("invalid_request", '"serviceName" is not the function of the path: leave it out');
        await deployments.scale(functionNamed(name), replicas);
        return accepted();
      },
      {
        needs: "write",
        params,
        body: Scaling,
        detail: {
          operationId: "openfaasScaleFunction",
          summary: "Keep instances of a function ready",
          description: "Sets `warm_min`: a function without instances is still called, and 0 is usual.",
          responses: { ...ACCEPTED, ...failingWithBody(404, 409, 502, 503, 507) },
        },
      },
    )
    .get("/namespaces", () => [NAMESPACE], {
      needs: "any",
      response: { 200: Type.Array(Type.String(), { description: "The one namespace.", examples: [[NAMESPACE]] }) },
      detail: { operationId: "openfaasListNamespaces", summary: "List the namespaces", responses: failing() },
    })
    .get("/info", () => infoOf(version), {
      needs: "any",
      response: { 200: Info },
      detail: { operationId: "openfaasGetInfo", summary: "Show the version of the server", responses: failing() },
    });
}

/** Returns the facts of the server. Both versions must be there: `faas-cli` reads them without looking. */
function infoOf(release: string) {
  const version = { release, sha: "" };
  const arch = process.arch === "x64" ? "x86_64" : process.arch;
  return { arch, provider: { provider: "slipway", orchestration: "docker", version }, version };
}
