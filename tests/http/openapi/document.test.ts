import { validate } from "@readme/openapi-parser";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { REASONS } from "../../../lib/domain/errors.ts";
import { STATUS_OF } from "../../../lib/http/wire/status-of.ts";
import { isObject, type Json, toOpenApi } from "../../../lib/http/openapi/schema.ts";
import { TestServer } from "../../support/server.ts";
import { OpenApiDocument, type Operation } from "../support/openapi-document.ts";

/** Every endpoint of the server, except the documentation itself. */
const SURFACE = [
  "POST /async-function/{path}",
  "GET /async-function/{path}",
  "PUT /async-function/{path}",
  "PATCH /async-function/{path}",
  "DELETE /async-function/{path}",
  "OPTIONS /async-function/{path}",
  "POST /function/{path}",
  "GET /function/{path}",
  "PUT /function/{path}",
  "PATCH /function/{path}",
  "DELETE /function/{path}",
  "OPTIONS /function/{path}",
  "GET /healthz",
  "GET /metrics",
  "POST /r/{path}",
  "GET /r/{path}",
  "PUT /r/{path}",
  "PATCH /r/{path}",
  "DELETE /r/{path}",
  "OPTIONS /r/{path}",
  "GET /readyz",
  "GET /system/function/{name}",
  "GET /system/functions",
  "POST /system/functions",
  "PUT /system/functions",
  "DELETE /system/functions",
  "GET /system/info",
  "GET /system/logs",
  "GET /system/namespaces",
  "POST /system/scale-function/{name}",
  "GET /system/secrets",
  "POST /system/secrets",
  "PUT /system/secrets",
  "DELETE /system/secrets",
  "POST /v1/apply",
  "GET /v1/audit",
  "GET /v1/builds",
  "POST /v1/builds",
  "GET /v1/builds/{id}",
  "DELETE /v1/builds/{id}",
  "GET /v1/builds/{id}/events",
  "GET /v1/callbacks/secret",
  "POST /v1/callbacks/secret/rotate",
  "GET /v1/export",
  "GET /v1/functions",
  "POST /v1/functions",
  "GET /v1/functions/{id}",
  "PATCH /v1/functions/{id}",
  "DELETE /v1/functions/{id}",
  "GET /v1/functions/{id}/boot",
  "GET /v1/functions/{id}/callback-secret",
  "POST /v1/functions/{id}/invoke",
  "GET /v1/functions/{id}/logs",
  "POST /v1/functions/{id}/pull",
  "POST /v1/functions/{id}/rollback",
  "GET /v1/functions/{id}/versions",
  "GET /v1/functions/{id}/versions/{version}",
  "GET /v1/invocations",
  "GET /v1/invocations/{id}",
  "GET /v1/invocations/{id}/attempts",
  "GET /v1/invocations/{id}/attempts/{attempt}/logs",
  "GET /v1/invocations/{id}/callback",
  "POST /v1/invocations/{id}/callback",
  "POST /v1/invocations/{id}/cancel",
  "GET /v1/invocations/{id}/events",
  "GET /v1/invocations/{id}/logs",
  "POST /v1/invocations/{id}/replay",
  "GET /v1/invocations/{id}/request",
  "GET /v1/invocations/{id}/result",
  "POST /v1/invocations/replay",
  "GET /v1/keys",
  "POST /v1/keys",
  "GET /v1/keys/{id}",
  "DELETE /v1/keys/{id}",
  "GET /v1/registries",
  "GET /v1/registries/{host}",
  "PUT /v1/registries/{host}",
  "DELETE /v1/registries/{host}",
  "POST /v1/registries/import",
  "GET /v1/routes",
  "POST /v1/routes",
  "GET /v1/routes/{id}",
  "PATCH /v1/routes/{id}",
  "DELETE /v1/routes/{id}",
  "GET /v1/schedules",
  "POST /v1/schedules",
  "GET /v1/schedules/{id}",
  "PATCH /v1/schedules/{id}",
  "DELETE /v1/schedules/{id}",
  "GET /v1/secrets",
  "GET /v1/secrets/{name}",
  "PUT /v1/secrets/{name}",
  "DELETE /v1/secrets/{name}",
  "GET /v1/stats",
  "GET /v1/system",
];

let server: TestServer;
let document: OpenApiDocument;
/** The one with every form of an answer. */
let full: OpenApiDocument;
let operations: readonly Operation[];

beforeAll(async () => {
  server = await TestServer.start();
  document = await OpenApiDocument.of(server.url);
  full = await OpenApiDocument.of(server.url, "/swagger/full.json");
  operations = document.operations();
});

afterAll(() => server[Symbol.asyncDispose]());

function nameOf({ method, path }: Operation): string {
  return `${method} ${path}`;
}

/** Every answer of a document, with its place and its content types. */
function answersOf(of: OpenApiDocument): (readonly [place: string, types: readonly string[]])[] {
  return of
    .operations()
    .flatMap((one) =>
      Object.entries(of.object(one.operation["responses"])).map(
        ([status, response]) =>
          [`${nameOf(one)} ${status}`, Object.keys(of.object(of.object(response)["content"]))] as const,
      ),
    );
}

function statusesOf({ operation }: Operation): number[] {
  return Object.keys(document.object(operation["responses"])).map(Number);
}

describe("GET /swagger/json", () => {
  test("GET /swagger/json is valid OpenAPI 3", async () => {
    // The parser wants the type of a document; it checks that this is one.
    const copy = structuredClone(document.json) as unknown as Parameters<typeof validate>[0];
    expect(await validate(copy)).toEqual({ valid: true, warnings: [], specification: "OpenAPI" });
    expect(document.json["openapi"]).toBe("3.0.3");
  });

  test("GET /swagger/json has one form of each answer, and one for all successes of an endpoint", () => {
    const answers = answersOf(document);
    expect(answers.filter(([, types]) => types.length > 1)).toEqual([]);
    const successes = answers.filter(([place]) => / 2\d\d$/.test(place));
    for (const [, ofOne] of Map.groupBy(successes, ([place]) => place.replace(/ \d+$/, ""))) {
      expect(new Set(ofOne.flatMap(([, types]) => types)).size).toBeLessThanOrEqual(1);
    }
    expect(new Map(successes).get("GET /v1/export 200")).toEqual(["application/yaml"]);
    expect(JSON.stringify(document.json["paths"])).not.toContain("ProblemDetails");
  });

  test("GET /swagger/full.json has the other forms, too, and is the same in the rest", async () => {
    const copy = structuredClone(full.json) as unknown as Parameters<typeof validate>[0]; // as above
    expect(await validate(copy)).toEqual({ valid: true, warnings: [], specification: "OpenAPI" });
    const plain = new Map(answersOf(document));
    const more = answersOf(full).filter(([place, types]) => plain.get(place)?.length !== types.length);
    const errors = more.filter(([place]) => / [45]\d\d$/.test(place));
    const successes = more.filter(([place]) => / 2\d\d$/.test(place));
    expect(errors.length).toBeGreaterThan(100);
    expect(new Set(errors.flatMap(([, types]) => types))).toEqual(
      new Set(["application/json", "application/problem+json"]),
    );
    expect(successes).toEqual([
      ["GET /v1/export 200", ["application/json", "application/yaml"]],
      ["POST /v1/functions 200", ["text/event-stream"]],
      ["PATCH /v1/functions/{id} 200", ["application/json", "text/event-stream"]],
      ["POST /v1/functions/{id}/pull 200", ["application/json", "text/event-stream"]],
    ]);
    const inputs = (of: OpenApiDocument) => of.operations().map(({ operation }) => ({ ...operation, responses: {} }));
    expect(inputs(full)).toEqual(inputs(document));
  });

  test("GET /swagger/json has numbers as numbers, and flags as booleans", () => {
    const schemas = operations.flatMap(({ operation: { parameters } }) =>
      (Array.isArray(parameters) ? parameters : []).map((one) => {
        const { name, schema } = document.object(one);
        return [name, document.object(schema)["type"]] as const;
      }),
    );
    const typesOf = (...names: string[]) =>
      new Set(schemas.filter(([name]) => names.some((one) => one === name)).map(([, type]) => type));
    expect(typesOf("limit", "delay_ms", "priority", "attempt", "version")).toEqual(new Set(["integer"]));
    expect(typesOf("async", "cascade", "force", "dry_run", "prune", "pull", "no_cache", "check")).toEqual(
      new Set(["boolean"]),
    );
  });

  test("GET /swagger/json has every endpoint", () => {
    expect(operations.map(nameOf)).toEqual(SURFACE);
  });

  test("GET /swagger/json names every operation once, with a summary and a known tag", () => {
    const ids = operations.map(({ operation }) => operation["operationId"]);
    expect(new Set(ids).size).toBe(SURFACE.length);
    const tags = document.json["tags"];
    const known = Array.isArray(tags) ? tags.map((tag) => document.object(tag)["name"]) : [];
    for (const { operation } of operations) {
      expect(operation["operationId"]).toMatch(/^[a-z][A-Za-z]+$/);
      expect(operation["summary"]).toMatch(/^[A-Z].{5,60}[^.]$/);
      expect(known).toContain(Array.isArray(operation["tags"]) ? (operation["tags"][0] ?? "") : "");
    }
  });

  test("GET /swagger/json has every error at the endpoints where it can happen", () => {
    const documented = new Set(operations.flatMap(statusesOf));
    const possible = new Set(REASONS.filter((reason) => reason !== "cancelled").map((reason) => STATUS_OF[reason]));
    expect([...possible].filter((status) => !documented.has(status))).toEqual([]);

    for (const each of operations) {
      const statuses = statusesOf(each);
      const open = each.operation["security"] !== undefined;
      // A call needs a key if its route does, and may come from any page.
      const refusals = each.path === "/r/{path}" ? [401, 403] : open ? [] : [401, 403, 421];
      expect([nameOf(each), [401, 403, 421].filter((status) => statuses.includes(status))]).toEqual([
        nameOf(each),
        refusals,
      ]);
      if (!open) expect(statuses).toContain(429);
      if (each.path.includes("{id}")) expect(statuses).toContain(404);
      if (each.operation["requestBody"] !== undefined)
        expect(statuses).toEqual(expect.arrayContaining([400, 408, 413]));
    }
    const open = operations.filter(({ operation }) => operation["security"] !== undefined).map(nameOf);
    const calls = SURFACE.filter((name) => name.endsWith(" /r/{path}"));
    expect(open).toEqual(["GET /healthz", ...calls, "GET /readyz"]);
  });

  test("GET /swagger/json gives every error an example of its own status", () => {
    for (const [name, response] of Object.entries(
      document.object(document.object(document.json["components"])["responses"]),
    )) {
      const media = document.media(response);
      expect([name, document.mismatch(media?.["schema"], media?.["example"])]).toEqual([name, undefined]);
      const used = operations.flatMap(({ operation }) =>
        Object.entries(document.object(operation["responses"])).filter(
          ([, one]) => isObject(one) && one["$ref"] === `#/components/responses/${name}`,
        ),
      );
      const reason = REASONS.find((one) => one === document.object(media?.["example"])["reason"]);
      expect(new Set(used.map(([status]) => Number(status)))).toEqual(
        new Set(reason === undefined ? [] : [STATUS_OF[reason]]),
      );
    }
  });

  test("GET /swagger/json describes everything, with examples that match", () => {
    for (const each of operations) {
      const name = nameOf(each);
      for (const [status, response] of Object.entries(document.object(each.operation["responses"]))) {
        const where = `${name} ${status}`;
        const resolved = document.object(response);
        expect([where, resolved["description"]]).toEqual([where, expect.stringMatching(/^[A-Z`].+\.$/)]);
        expect([where, Object.keys(document.object(resolved["headers"]))]).toEqual([
          where,
          expect.arrayContaining(["X-Request-Id"]),
        ]);
        const media = document.media(response);
        if (media !== undefined) {
          expect([where, document.mismatch(media["schema"], media["example"])]).toEqual([where, undefined]);
        }
      }
      const body = document.media(each.operation["requestBody"]);
      if (body !== undefined)
        expect([name, document.mismatch(body["schema"], body["example"])]).toEqual([name, undefined]);
      const parameters = each.operation["parameters"];
      for (const parameter of Array.isArray(parameters) ? parameters.map((one) => document.object(one)) : []) {
        expect([name, parameter["name"], parameter["description"]]).toEqual([
          name,
          parameter["name"] ?? "",
          expect.stringMatching(/.\.$/),
        ]);
        if (parameter["example"] !== undefined)
          expect(document.mismatch(parameter["schema"], parameter["example"])).toBeUndefined();
      }
    }
  });

  test("GET /swagger/json describes every field", () => {
    const bare = fields(document.json["components"] ?? null, "components").filter(([, field]) => {
      const { description, $ref, enum: choices } = isObject(field) ? field : {};
      const isList = isObject(field) && field["type"] === "array";
      return (
        description === undefined && $ref === undefined && !isList && !(Array.isArray(choices) && choices.length === 1)
      );
    });
    expect(bare.map(([where]) => where)).toEqual([]);
  });

  test("GET /swagger/json has nothing that exists only in TypeBox or JSON Schema", () => {
    const text = JSON.stringify(document.json);
    for (const word of [
      "x-documented",
      "$id",
      '"const"',
      "patternProperties",
      '"type":"null"',
      "examples",
      "TypeBox",
      '"hide"',
    ]) {
      expect(text).not.toContain(word);
    }
  });
});

/** Every field of every schema in a value, with its path. */
function fields(value: Json, where: string): (readonly [string, Json])[] {
  if (Array.isArray(value)) return value.flatMap((one) => fields(one, where));
  if (!isObject(value)) return [];
  const own = isObject(value["properties"]) ? Object.entries(value["properties"]) : [];
  return [
    ...own.map(([name, field]) => [`${where}.${name}`, field] as const),
    ...Object.entries(value).flatMap(([key, part]) => (key === "example" ? [] : fields(part, `${where}.${key}`))),
  ];
}

test("the answers of a server match the document", async () => {
  for (const { method, path, operation } of full
    .operations()
    .filter((one) => one.method === "GET" && !one.path.includes("{"))) {
    const response = await fetch(server.url + path, { headers: { Accept: "application/json" } });
    if (path === "/metrics") continue;
    const { schema } = full.media(full.object(operation["responses"])[response.status]) ?? {};
    expect([method, path, full.mismatch(schema, await response.json())]).toEqual([method, path, undefined]);
  }
});

test.each<readonly [unknown, Json]>([
  [{ anyOf: [{ type: "string" }, { type: "null" }] }, { type: "string", nullable: true }],
  [
    { anyOf: [{ const: "a", type: "string" }, { const: "b", type: "string" }, { type: "null" }] },
    { type: "string", enum: ["a", "b", null], nullable: true },
  ],
  [
    { anyOf: [{ anyOf: [{ const: "a", type: "string" }], description: "d" }, { type: "null" }] },
    { type: "string", enum: ["a", null], description: "d", nullable: true },
  ],
  [{ anyOf: [{ type: "string" }, { type: "integer" }] }, { anyOf: [{ type: "string" }, { type: "integer" }] }],
  [
    { const: true, type: "boolean" },
    { type: "boolean", enum: [true] },
  ],
  [{ type: "null" }, { type: "object", nullable: true, enum: [null] }],
  [
    { type: "string", examples: ["x", "y"], $id: "z" },
    { type: "string", example: "x" },
  ],
  [undefined, {}],
])("toOpenApi turns %j into %j", (schema, expected) => {
  expect(toOpenApi(schema)).toEqual(expected as ReturnType<typeof toOpenApi>);
});
