import { Build, BuildPage, BuildStep } from "../../domain/builds/builds.ts";
import { Stats } from "../../domain/stats/figures.ts";
import { mapInSlices } from "../../domain/concurrency.ts";
import { CreateFunction, Function, UpdateFunction } from "../../domain/functions/functions.ts";
import { Invocation, InvocationLogs, InvocationPage, LogEntry } from "../../domain/calls/invocations.ts";
import { CreateKey, Key, NewKey } from "../../domain/keys.ts";
import { CreateRoute, Route, UpdateRoute } from "../../domain/routes/routes.ts";
import { AppliedManifest, ApplyManifest, Manifest, ManifestChange } from "../../domain/manifest/manifest.ts";
import { DockerConfig } from "../../domain/images/docker-config.ts";
import { PullProgress } from "../../domain/images/pull-progress.ts";
import { PutRegistry, Registry, RegistryImport } from "../../domain/images/registries.ts";
import { PutSecret, Secret } from "../../domain/secrets.ts";
import { FunctionVersion, Rollback, VersionPage } from "../../domain/functions/versions.ts";
import { ErrorEnvelope } from "../wire/envelope.ts";
import { errorComponents } from "./errors.ts";
import { documentedPath, type DocumentedRoute, operations } from "./operation.ts";
import { ProblemDetails } from "../wire/problem-details.ts";
import { isObject, type Json, type JsonObject, type References, referencesTo, toOpenApi } from "./schema.ts";

const DESCRIPTION = `Runs any Docker image as a serverless function, in a brand-new container for every call.

Register an image (\`POST /v1/functions\`), give it a path (\`POST /v1/routes\`), and call it (\`POST /r/<path>\`).

Answers of \`/v1\` are envelopes: \`{"success": true, "message": "success", "data": ...}\`, or an \`Error\`
(\`ProblemDetails\`, RFC 9457, if \`Accept\` prefers \`application/problem+json\`). Bodies are JSON whatever their content
type says. Wherever a function's id is expected, its name works, too. Every answer has an \`X-Request-Id\`.`;

/** The API of AWS, whose own model is the document of its requests and answers. */
const AWS = `The API of AWS Lambda, for AWS's own clients: the access key id is an API key. Requests and answers are those of AWS's model
(\`lambda\`, 2015-03-31), errors too; every other operation of it is answered with 501 and its name.

- \`POST /2015-03-31/functions/{name}/invocations\` (Invoke), \`POST /2021-11-15/functions/{name}/response-streaming-invocations\`
(InvokeWithResponseStream), \`POST /2014-11-13/functions/{name}/invoke-async\` (InvokeAsync): scope \`invoke\`
- \`GET /2015-03-31/functions\`, \`GET .../{name}\`, \`GET .../{name}/configuration\`, \`GET .../{name}/versions\`: scope \`deploy\` or \`read\`
- \`POST /2015-03-31/functions\`, \`PUT .../{name}/code\`, \`PUT .../{name}/configuration\`, \`DELETE .../{name}\`,
\`POST .../{name}/versions\`: scope \`deploy\``;

const TAGS = [
  { name: "functions", description: "Images plus their settings." },
  { name: "versions", description: "Earlier states of functions, and the way back." },
  { name: "routes", description: "Paths below `/r` that lead to functions." },
  { name: "secrets", description: "Values that only functions can read." },
  { name: "registries", description: "Credentials for the images of private registries." },
  { name: "builds", description: "Images that the server has the engine build." },
  { name: "manifest", description: "All functions and routes as one file." },
  { name: "calls", description: "Calling functions." },
  { name: "aws", description: AWS },
  { name: "invocations", description: "The records of calls, their results and logs." },
  { name: "schedules", description: "Calling functions by the clock." },
  { name: "callbacks", description: "The secret that signs results sent to a `callback_url`." },
  {
    name: "openfaas",
    description:
      "OpenFaaS's API, for `faas-cli` and other clients of it. The key is also taken as the password of Basic authentication. Errors are " +
      "plain text, unless `Accept` asks for JSON.",
  },
  { name: "keys", description: "Who may use the API, and for what." },
  { name: "status", description: "The health of the server, and its metrics." },
];

/** Schemas with a name. The document refers to them wherever they occur. */
const NAMED = {
  AppliedManifest,
  ApplyManifest,
  Build,
  BuildPage,
  BuildStep,
  CreateFunction,
  CreateKey,
  CreateRoute,
  DockerConfig,
  Error: ErrorEnvelope,
  Function,
  FunctionVersion,
  Invocation,
  InvocationLogs,
  InvocationPage,
  Key,
  LogEntry,
  Manifest,
  ManifestChange,
  NewKey,
  ProblemDetails,
  PullProgress,
  PutRegistry,
  PutSecret,
  Registry,
  RegistryImport,
  Rollback,
  Route,
  Secret,
  Stats,
  UpdateFunction,
  UpdateRoute,
  VersionPage,
};

/**
 * Returns the OpenAPI 3.0 document of an app's routes, without those whose `detail` says `hide`. It takes some 200 ms in all,
 * so it is made in slices.
 */
export async function openApiDocument(routes: readonly DocumentedRoute[], version: string): Promise<JsonObject> {
  const schemas: JsonObject = Object.fromEntries(
    await mapInSlices(Object.entries(NAMED), ([name, schema]) => [name, toOpenApi(schema)] as const),
  );
  const references = referencesTo(schemas);
  return {
    openapi: "3.0.3",
    info: { title: "Slipway", description: DESCRIPTION, version, license: { name: "MIT" } },
    servers: [{ url: "/" }],
    tags: TAGS,
    security: [{}, { key: [] }],
    paths: await pathsOf(routes, references),
    components: {
      schemas: Object.fromEntries(
        await mapInSlices(Object.entries(schemas), ([name, schema]) => [name, references.inside(schema)] as const),
      ),
      responses: errorComponents(),
      headers: {
        RequestId: {
          description: "A UUID, which is also in the log. For a call, it is the id of the invocation.",
          schema: { type: "string" },
        },
      },
      securitySchemes: {
        key: { type: "http", scheme: "bearer", description: "The API key, if the server requires one." },
      },
    },
  };
}

async function pathsOf(routes: readonly DocumentedRoute[], references: References): Promise<JsonObject> {
  const paths = new Map<string, Json>();
  const operationsOf = (route: DocumentedRoute) =>
    [documentedPath(route.path), references.inside(operations(route))] as const;
  for (const [path, methods] of await mapInSlices(routes.filter(isShown), operationsOf)) {
    const others = paths.get(path);
    paths.set(path, isObject(others) && isObject(methods) ? { ...others, ...methods } : methods);
  }
  return Object.fromEntries([...paths].toSorted(([a], [b]) => a.localeCompare(b)));
}

function isShown({ hooks: { detail } }: DocumentedRoute): boolean {
  return !(isObject(detail) && detail["hide"] === true);
}
