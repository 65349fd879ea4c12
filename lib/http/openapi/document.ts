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
import { isObject, type JsonObject, toOpenApi, withReferences } from "./schema.ts";

const DESCRIPTION = `Runs any Docker image as a serverless function, in a brand-new container for every call.

Register an image (\`POST /v1/functions\`), give it a path (\`POST /v1/routes\`), and call it (\`POST /r/<path>\`).

Answers of \`/v1\` are envelopes: \`{"success": true, "message": "success", "data": ...}\`, or an \`Error\`
(\`ProblemDetails\`, RFC 9457, for those whose \`Accept\` prefers \`application/problem+json\`). Bodies are JSON whatever
their content type says. A function is named by its id or its name. Every answer has an \`X-Request-Id\`.`;

const TAGS = [
  { name: "functions", description: "Images plus their settings." },
  { name: "versions", description: "What functions were, and the way back." },
  { name: "routes", description: "Paths below `/r` that lead to functions." },
  { name: "secrets", description: "Values that only functions see." },
  { name: "registries", description: "Credentials for the images of private registries." },
  { name: "manifest", description: "All functions and routes as one file." },
  { name: "calls", description: "Running functions." },
  { name: "invocations", description: "The records of calls, and what the functions printed." },
  { name: "schedules", description: "Functions that are called by the clock." },
  { name: "callbacks", description: "What results are signed with on their way to a `callback_url`." },
  { name: "keys", description: "Who may use the API, and what for." },
  { name: "status", description: "Whether the server works, and its figures." },
];

/** Schemas that have a name; wherever they stand in the document, they are referred to. */
const NAMED = {
  AppliedManifest,
  ApplyManifest,
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
  UpdateFunction,
  UpdateRoute,
  VersionPage,
};

/** The OpenAPI 3.0 document of an app's routes, those left out whose `detail` says `hide`. */
export function openApiDocument(routes: readonly DocumentedRoute[], version: string): JsonObject {
  const schemas: JsonObject = Object.fromEntries(
    Object.entries(NAMED).map(([name, schema]) => [name, toOpenApi(schema)]),
  );
  return {
    openapi: "3.0.3",
    info: { title: "Slipway", description: DESCRIPTION, version, license: { name: "MIT" } },
    servers: [{ url: "/" }],
    tags: TAGS,
    security: [{}, { key: [] }],
    paths: withReferences(pathsOf(routes), schemas),
    components: {
      schemas: withReferences(schemas, schemas),
      responses: errorComponents(),
      headers: {
        RequestId: {
          description: "A UUID that the log has, too; of a call, the id of its invocation.",
          schema: { type: "string" },
        },
      },
      securitySchemes: {
        key: { type: "http", scheme: "bearer", description: "The API key, where the server needs one." },
      },
    },
  };
}

function pathsOf(routes: readonly DocumentedRoute[]): JsonObject {
  const paths = new Map<string, JsonObject>();
  for (const route of routes) {
    const detail = route.hooks.detail;
    if (isObject(detail) && detail["hide"] === true) continue;
    const path = documentedPath(route.path);
    paths.set(path, { ...paths.get(path), ...operations(route) });
  }
  return Object.fromEntries([...paths].toSorted(([a], [b]) => a.localeCompare(b)));
}
