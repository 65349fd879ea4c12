import { swagger } from "@elysiajs/swagger";
import type { AnyElysia } from "elysia";
import { ErrorEnvelope } from "./envelope.ts";
import { exampleOf, isObject, type Json, type JsonObject, toOpenApi } from "./openapi-schema.ts";

const ERROR = { $ref: "#/components/schemas/Error" };

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  200: "Done.",
  201: "Made.",
  400: "The request is wrong; the message says what and how to mend it.",
  401: "No or wrong API key.",
  403: "From another site's page.",
  404: "No such path, id or name.",
  405: "Wrong method; `Allow` names the right ones.",
  408: "The body did not come in time.",
  409: "It is taken, or in use.",
  413: "The body is over the limit.",
  421: "The `Host` header names another server.",
  429: "Too many calls; try again after `Retry-After` seconds.",
  500: "A fault of the server; its log has more under the request id.",
  502: "The function failed, or its image cannot be had.",
  503: "The engine, or a free instance, cannot be had; try again after `Retry-After` seconds.",
  504: "The function ran past its timeout.",
  507: "The disk under the data path is full.",
};

const errorResponse = (status: number) => ({
  description: DESCRIPTIONS[status] ?? "An error.",
  content: { "application/json": { schema: ERROR } },
});

/** The documentation of an endpoint that answers with a function's own response. */
export function callDetail(operationId: string, summary: string) {
  const own = (description: string) => ({
    description,
    headers: {
      "X-Request-Id": { description: "The id of the invocation.", schema: { type: "string" as const } },
      "X-Function-Exit-Code": { description: "Where the function ran.", schema: { type: "integer" as const } },
      "Server-Timing": {
        description: "What the caller waited for: queue, start, run.",
        schema: { type: "string" as const },
      },
    },
    content: { "application/json": { schema: {}, example: { success: true, data: { message: "hello-world" } } } },
  });
  const statuses = [400, 401, 403, 404, 405, 408, 413, 421, 429, 502, 503, 504];
  return {
    operationId,
    summary,
    description:
      "The request body reaches the function as request.json, whatever it is; the answer is what the function wrote into response.json.",
    requestBody: { content: { "application/json": { schema: {}, example: { message: "hello-world" } } } },
    responses: {
      200: own("The function exited with 0: its response.json (`{}` where it wrote nothing)."),
      500: own("The function exited with another code and wrote a response: its response.json."),
      ...Object.fromEntries(statuses.map((status) => [status, errorResponse(status)])),
    },
  };
}

/** The documentation of the errors of an endpoint that has no envelope of its own. */
export function errorDetails(...statuses: readonly number[]) {
  return Object.fromEntries(statuses.map((status) => [status, errorResponse(status)]));
}

const INFO = {
  title: "Slipway",
  description:
    "Runs any Docker image as a serverless function, in a brand-new container for every call. " +
    "Register an image, give it a route, and `POST` to `/r/<path>`.",
};

/**
 * The OpenAPI 3.0 document of an app. @elysiajs/swagger makes it; here it becomes valid: TypeBox speaks a newer JSON
 * Schema, wildcard paths are dropped, and responses have no descriptions.
 */
export async function openApiDocument(surface: AnyElysia, version: string): Promise<JsonObject> {
  const documented = surface.use(swagger({ documentation: { info: { ...INFO, version } }, exclude: /^\/swagger/ }));
  const raw: unknown = await (await documented.handle(new Request("http://localhost/swagger/json"))).json();
  const document = toOpenApi(raw);
  if (!isObject(document) || !isObject(document["paths"])) throw new Error("@elysiajs/swagger made no document");
  const paths: JsonObject = {};
  for (const [path, item] of Object.entries(document["paths"])) paths[path.replace(/(.)\/$/, "$1")] = pathItem(item);
  paths["/r/{path}"] = callItem(surface);
  return {
    ...document,
    paths: Object.fromEntries(Object.entries(paths).toSorted(([a], [b]) => a.localeCompare(b))),
    servers: [{ url: "/" }],
    tags: ["functions", "routes", "calls", "invocations", "status"].map((name) => ({ name })),
    security: [{}, { key: [] }],
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer", description: "The API key, where one is needed." } },
      schemas: { Error: toOpenApi(JSON.parse(JSON.stringify(ErrorEnvelope))) },
    },
  };
}

/** The wildcard route, which @elysiajs/swagger leaves out and OpenAPI can only come near to. */
function callItem(surface: AnyElysia): JsonObject {
  const route = surface.routes.find(({ path }) => path === "/r/*");
  const detail = toOpenApi(JSON.parse(JSON.stringify(route?.hooks?.detail ?? {})));
  if (!isObject(detail)) throw new Error("the route /r/* has no documentation");
  const path = {
    name: "path",
    in: "path",
    required: true,
    description: "The path of a route, without its first slash; it may contain more slashes.",
    schema: { type: "string" },
    example: "hello-world",
  };
  return { post: { tags: ["calls"], ...detail, parameters: [path] } };
}

function pathItem(item: Json): JsonObject {
  if (!isObject(item)) return {};
  return Object.fromEntries(
    Object.entries(item).map(([method, operation]) => [
      method,
      isObject(operation) ? mendOperation(operation) : operation,
    ]),
  );
}

function mendOperation(operation: JsonObject): JsonObject {
  const mended: JsonObject = { ...operation };
  if (isObject(mended["requestBody"]))
    mended["requestBody"] = { ...mended["requestBody"], content: jsonOnly(mended["requestBody"]["content"]) };
  if (!isObject(mended["responses"])) return mended;
  mended["responses"] = Object.fromEntries(
    Object.entries(mended["responses"]).map(([status, response]) => [
      status,
      isObject(response) ? mendResponse(status, response) : response,
    ]),
  );
  return mended;
}

function mendResponse(status: string, response: JsonObject): JsonObject {
  const description = response["description"];
  const isError = Number(status) >= 400 && !JSON.stringify(response["content"] ?? {}).includes('"ready"');
  return {
    ...response,
    description:
      typeof description === "string" && description !== "" ? description : (DESCRIPTIONS[status] ?? "Done."),
    content: isError ? { "application/json": { schema: ERROR } } : jsonOnly(response["content"]),
  };
}

/** A body is JSON here, whatever its content type says: the other types that the plugin names are noise. */
function jsonOnly(content: Json | undefined): JsonObject {
  if (!isObject(content)) return {};
  const json = content["application/json"];
  if (!isObject(json)) return content;
  return {
    "application/json": { ...json, ...("example" in json ? {} : { example: exampleOf(json["schema"] ?? {}) }) },
  };
}
