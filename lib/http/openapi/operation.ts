import { ErrorEnvelope } from "../wire/envelope.ts";
import type { ErrorStatus } from "../wire/status-of.ts";
import { errorReference, isErrorStatus, REQUEST_ID_HEADER } from "./errors.ts";
import { exampleOf, isObject, type Json, type JsonObject, toOpenApi } from "./schema.ts";

/** The parts of an Elysia route that are documented. */
export interface DocumentedRoute {
  readonly method: string;
  readonly path: string;
  readonly hooks: {
    readonly detail?: unknown;
    readonly params?: unknown;
    readonly query?: unknown;
    readonly body?: unknown;
    readonly response?: unknown;
  };
}

/** Returns the path of a route in OpenAPI's form. OpenAPI has no wildcards: `/r/*` becomes `/r/{path}`. */
export function documentedPath(path: string): string {
  const parts = path.split("/").map((part) => (part === "*" ? "{path}" : part.replace(/^:(.+)$/, "{$1}")));
  return parts.join("/").replace(/(.)\/$/, "$1");
}

/** The methods documented for a route that accepts any. `HEAD` is never documented: it goes with `GET`. */
const ANY = ["POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;

/** Returns the operations of a route by method. If it accepts any, each method has an operation id of its own. */
export function operations(route: DocumentedRoute): JsonObject {
  if (route.method !== "ALL") return { [route.method.toLowerCase()]: operation(route) };
  return Object.fromEntries(
    ANY.map((method) => {
      const { requestBody, ...rest } = operation({ ...route, method });
      const id = `${textOf(rest["operationId"])}${method === "POST" ? "" : `With${titleOf(method)}`}`;
      const body = TAKES_BODY.has(method) && requestBody !== undefined && { requestBody };
      return [method.toLowerCase(), { ...rest, operationId: id, ...body }];
    }),
  );
}

/** Methods whose request bodies have a meaning (RFC 9110, 9.3). */
const TAKES_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

function titleOf(method: string): string {
  return method.charAt(0) + method.slice(1).toLowerCase();
}

/** Returns the operation of a route: its `detail`, and what follows from its schemas. */
function operation({ path, hooks }: DocumentedRoute): JsonObject {
  const detail = withScopes(toOpenApi(hooks.detail));
  const described = isObject(detail["responses"]) ? detail["responses"] : {};
  const parameters = [
    ...parametersOf("path", hooks.params),
    ...(path.endsWith("/*") ? [WILDCARD] : []),
    ...parametersOf("query", hooks.query),
  ];
  return {
    ...detail,
    ...(parameters.length > 0 && { parameters }),
    ...(hooks.body !== undefined && { requestBody: { required: true, content: json(hooks.body) } }),
    responses: mergedResponses(described, responsesOf(hooks.response)),
  };
}

/** Merges the answers of `detail` and of the schemas; one that is in both has the content types and descriptions of both. */
function mergedResponses(described: JsonObject, ofSchemas: JsonObject): JsonObject {
  const both = Object.entries(ofSchemas).map(([status, response]): [string, Json] => {
    const other = described[status];
    if (!isObject(other) || !isObject(response)) return [status, response];
    const content = { ...objectOf(response["content"]), ...objectOf(other["content"]) };
    const description = `${textOf(response["description"])} ${textOf(other["description"])}`;
    return [status, { ...other, ...response, description, content }];
  });
  return { ...described, ...Object.fromEntries(both) };
}

function objectOf(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

/** Adds the scopes of an endpoint, of which a key needs one. OpenAPI 3.0 has scopes for OAuth only. */
function withScopes(detail: JsonObject): JsonObject {
  const scopes = detail["x-scopes"];
  if (!Array.isArray(scopes)) return detail;
  const enough = [...new Set([...scopes, "admin"])];
  const { description } = detail;
  const text = `Scope of a key: ${enough.map((scope) => `\`${JSON.stringify(scope)}\``).join(" or ")}.`;
  return {
    ...detail,
    "x-scopes": enough,
    description: typeof description === "string" ? `${description}\n\n${text}` : text,
  };
}

/** Returns the error responses of an endpoint whose answers have no envelope, for its `detail`. */
export function errorDetails(...statuses: readonly ErrorStatus[]) {
  return Object.fromEntries(statuses.map((status) => [status, errorReference(status)]));
}

const WILDCARD: JsonObject = {
  name: "path",
  in: "path",
  required: true,
  description: "The path of a route without its leading slash. It may contain slashes.",
  schema: { type: "string" },
  example: "hello-world",
};

function parametersOf(where: "path" | "query", schema: unknown): JsonObject[] {
  const { properties, required } = toOpenApi(schema);
  if (!isObject(properties)) return [];
  const needed = Array.isArray(required) ? required : [];
  return Object.entries(properties).map(([name, property]) => {
    const { description = "", example, ...rest } = isObject(property) ? property : {};
    return {
      name,
      in: where,
      required: needed.includes(name),
      description,
      schema: rest,
      ...(example !== undefined && { example }),
    };
  });
}

function responsesOf(response: unknown): JsonObject {
  if (response === null || typeof response !== "object") return {};
  const entries = Object.entries(response).map(([key, schema]: [string, unknown]): [string, JsonObject] => {
    const status = Number(key);
    if (schema === ErrorEnvelope && isErrorStatus(status)) return [key, errorReference(status)];
    const { description = "Done." } = toOpenApi(schema);
    return [key, { description, headers: REQUEST_ID_HEADER, content: json(schema) }];
  });
  return Object.fromEntries(entries);
}

/** Returns JSON content with a schema, whose description moves to the response or body around it. */
function json(typebox: unknown): JsonObject {
  const { description: _description, ...schema } = toOpenApi(typebox);
  return { "application/json": { schema, example: exampleOf(schema) } };
}
