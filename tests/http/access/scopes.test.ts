import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type NewKey, type Scope, SCOPES } from "../../../lib/domain/keys.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { OpenApiDocument, type Operation } from "../support/openapi-document.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

/** The scopes of each endpoint, written down a second time besides `lib/http/app.ts`. A new endpoint needs a line here. */
const EXPECTED: Readonly<Record<string, readonly Scope[] | "public">> = {
  callRoute: "public",
  callRouteWithGet: "public",
  callRouteWithPut: "public",
  callRouteWithPatch: "public",
  callRouteWithDelete: "public",
  callRouteWithOptions: "public",
  health: "public",
  readiness: "public",
  openfaasInvoke: ["admin", "invoke"],
  openfaasSubmit: ["admin", "invoke"],
  openfaasInvokeWithGet: ["admin", "invoke"],
  openfaasSubmitWithGet: ["admin", "invoke"],
  openfaasInvokeWithPut: ["admin", "invoke"],
  openfaasSubmitWithPut: ["admin", "invoke"],
  openfaasInvokeWithPatch: ["admin", "invoke"],
  openfaasSubmitWithPatch: ["admin", "invoke"],
  openfaasInvokeWithDelete: ["admin", "invoke"],
  openfaasSubmitWithDelete: ["admin", "invoke"],
  openfaasInvokeWithOptions: ["admin", "invoke"],
  openfaasSubmitWithOptions: ["admin", "invoke"],
  openfaasListFunctions: ["admin", "deploy", "read"],
  openfaasGetFunction: ["admin", "deploy", "read"],
  openfaasGetLogs: ["admin", "read"],
  openfaasListSecrets: ["admin", "deploy", "read"],
  openfaasDeployFunction: ["admin", "deploy"],
  openfaasUpdateFunction: ["admin", "deploy"],
  openfaasDeleteFunction: ["admin", "deploy"],
  openfaasScaleFunction: ["admin", "deploy"],
  openfaasCreateSecret: ["admin", "deploy"],
  openfaasUpdateSecret: ["admin", "deploy"],
  openfaasDeleteSecret: ["admin", "deploy"],
  openfaasGetInfo: ["admin", "deploy", "invoke", "read"],
  openfaasListNamespaces: ["admin", "deploy", "invoke", "read"],
  listFunctions: ["admin", "deploy", "read"],
  createFunction: ["admin", "deploy"],
  getFunction: ["admin", "deploy", "read"],
  getLastBoot: ["admin", "deploy", "read"],
  updateFunction: ["admin", "deploy"],
  deleteFunction: ["admin", "deploy"],
  pullFunction: ["admin", "deploy"],
  listVersions: ["admin", "deploy", "read"],
  getVersion: ["admin", "deploy", "read"],
  rollbackFunction: ["admin", "deploy"],
  getFunctionCallbackSecret: ["admin", "deploy"],
  invokeFunction: ["admin", "invoke"],
  listRoutes: ["admin", "deploy", "read"],
  createRoute: ["admin", "deploy"],
  getRoute: ["admin", "deploy", "read"],
  updateRoute: ["admin", "deploy"],
  deleteRoute: ["admin", "deploy"],
  listInvocations: ["admin", "read"],
  getInvocation: ["admin", "read"],
  getInvocationLogs: ["admin", "read"],
  getInvocationResult: ["admin", "read"],
  getInvocationRequest: ["admin", "read"],
  followFunctionLogs: ["admin", "read"],
  getSystem: ["admin", "read"],
  followInvocation: ["admin", "read"],
  listAttempts: ["admin", "read"],
  getAttemptLogs: ["admin", "read"],
  cancelInvocation: ["admin", "invoke"],
  replayInvocation: ["admin", "invoke"],
  replayInvocations: ["admin", "invoke"],
  getCallback: ["admin", "read"],
  retryCallback: ["admin", "invoke"],
  getCallbackSecret: ["admin"],
  rotateCallbackSecret: ["admin"],
  listSchedules: ["admin", "deploy", "read"],
  createSchedule: ["admin", "deploy"],
  getSchedule: ["admin", "deploy", "read"],
  updateSchedule: ["admin", "deploy"],
  deleteSchedule: ["admin", "deploy"],
  metrics: ["admin", "read"],
  listSecrets: ["admin", "deploy", "read"],
  getSecret: ["admin", "deploy", "read"],
  putSecret: ["admin", "deploy"],
  deleteSecret: ["admin", "deploy"],
  listRegistries: ["admin", "deploy", "read"],
  getRegistry: ["admin", "deploy", "read"],
  putRegistry: ["admin", "deploy"],
  deleteRegistry: ["admin", "deploy"],
  importRegistries: ["admin", "deploy"],
  getStats: ["admin", "read"],
  listBuilds: ["admin", "deploy", "read"],
  createBuild: ["admin", "deploy"],
  getBuild: ["admin", "deploy", "read"],
  followBuild: ["admin", "deploy", "read"],
  cancelBuild: ["admin", "deploy"],
  applyManifest: ["admin", "deploy"],
  exportManifest: ["admin", "deploy", "read"],
  listKeys: ["admin"],
  createKey: ["admin"],
  getKey: ["admin"],
  revokeKey: ["admin"],
  listAudit: ["admin"],
};

let server: TestServer;
let operations: readonly Operation[];
let tokens: Readonly<Record<Scope, string>>;

beforeAll(async () => {
  server = await TestServer.start({ API_KEY: "the-key" });
  const document: unknown = await (await send("GET", "/swagger/json", "the-key")).json();
  // The tests of the document check that it is one.
  operations = new OpenApiDocument(document as OpenApiDocument["json"]).operations();
  const made = await Promise.all(SCOPES.map(async (scope) => [scope, await makeKey({ name: scope, scopes: [scope] })]));
  tokens = Object.fromEntries(made) as typeof tokens; // one for each scope
});

afterAll(() => server[Symbol.asyncDispose]());

function send(method: string, path: string, token?: string): Promise<Response> {
  // A request that passes does nothing: its target does not exist, and its body is not JSON.
  const body = ["GET", "HEAD", "DELETE"].includes(method) ? undefined : "{";
  const headers = {
    Accept: "application/json",
    ...(token !== undefined && { Authorization: `Bearer ${token}` }),
  };
  return fetch(server.url + path, { method, headers, ...(body !== undefined && { body }) });
}

async function makeKey(body: object): Promise<string> {
  const reply = await server.api<NewKey>("POST", "/v1/keys", body, { Authorization: "Bearer the-key" });
  return expectSuccess(reply, 201).token;
}

function idOf({ operation }: Operation): string {
  const id = operation["operationId"];
  return typeof id === "string" ? id : "";
}

function pathOf({ path }: Operation): string {
  return path.replaceAll(/\{\w+\}/g, "none");
}

describe("every endpoint of the OpenAPI document", () => {
  test("has a line in the table of scopes, and the table has no others", () => {
    expect(operations.map(idOf).toSorted()).toEqual(Object.keys(EXPECTED).toSorted());
  });

  test("states its scopes, unless it is public", () => {
    for (const each of operations) {
      const id = idOf(each);
      const { description, "x-scopes": scopes } = each.operation;
      const told = Array.isArray(scopes) ? scopes.map(String).toSorted().join() : "public";
      expect([id, told]).toEqual([id, String(EXPECTED[id])]);
      if (told !== "public") expect([id, description]).toEqual([id, expect.stringContaining("Scope of a key: ")]);
    }
  });

  test("answers 401 without a key, and 401 or 429 with a wrong one, unless it is public", async () => {
    for (const each of operations) {
      const id = idOf(each);
      const answers = [await send(each.method, pathOf(each)), await send(each.method, pathOf(each), "wrong")];
      for (const [i, { status }] of answers.entries()) {
        const refused = status === 401 || (i === 1 && status === 429);
        expect([id, i, status, refused]).toEqual([id, i, status, EXPECTED[id] !== "public"]);
      }
    }
  });

  test.each(SCOPES.map((scope) => [scope]))(
    "lets a key with the scope %s do what the table says, and nothing else",
    async (scope) => {
      for (const each of operations) {
        const id = idOf(each);
        const expected = EXPECTED[id];
        if (expected === undefined || expected === "public") continue;
        const response = await send(each.method, pathOf(each), tokens[scope]);
        const { status, headers } = response;
        if (expected.includes(scope)) {
          await response.arrayBuffer();
          expect([id, status, [200, 400, 404].includes(status)]).toEqual([id, status, true]);
          continue;
        }
        const body = (await response.json()) as { message: string; success: boolean; data: unknown }; // expectError checks it
        expectError({ status, headers, body }, { status: 403, reason: "forbidden" });
        for (const one of expected) expect(body.message).toContain(`"${one}"`);
        expect(body.message).toContain(`but yours has "${scope}": `);
      }
    },
  );
});

test.each([
  "/swagger",
  "/swagger/json",
  "/swagger/full.json",
  "/swagger/start.js",
  "/swagger/swagger-ui.js",
  "/swagger/swagger-ui.css",
  "/docs",
  "/docs/routes",
])("GET %s accepts every key, but no request without one", async (path) => {
  for (const scope of SCOPES) expect([scope, (await send("GET", path, tokens[scope])).status]).toEqual([scope, 200]);
  expect((await send("GET", path)).status).toBe(401);
});

test("HEAD needs the same scopes as GET", async () => {
  expect((await send("HEAD", "/v1/functions", tokens.read)).status).toBe(200);
  expect((await send("HEAD", "/v1/functions", tokens.invoke)).status).toBe(403);
});

test("a key for one function calls only that one, by its id or its name", async () => {
  const image = await fixture("static");
  const admin = { Authorization: "Bearer the-key" };
  const make = async (name: string) =>
    expectSuccess(await server.api<{ id: string }>("POST", "/v1/functions", { image, name }, admin), 201).id;
  const [mine, other] = [await make("mine"), await make("other")];
  const token = await makeKey({ name: "one", scopes: ["invoke"], function_id: "mine" });
  const headers = { Authorization: `Bearer ${token}` };
  const invoke = (fn: string, sent: Record<string, string> = headers) =>
    fetch(`${server.url}/v1/functions/${fn}/invoke`, { method: "POST", body: "[1]", headers: sent });
  for (const fn of [mine, "mine"]) expect(await (await invoke(fn)).text()).toBe("[1]");
  for (const fn of [other, "other"]) {
    const reply = await server.api("POST", `/v1/functions/${fn}/invoke`, "[1]", headers);
    expectError(reply, {
      status: 403,
      reason: "forbidden",
      message: `This key may only call the function "${mine}": send a key for this function, or for all`,
    });
  }
  expect((await invoke(other, { Authorization: `Bearer ${tokens.invoke}` })).status).toBe(200);
  // Nor by a route, nor before the work of others.
  const route = { path: "/other", function_id: other, auth: "key" };
  expectSuccess(await server.api("POST", "/v1/routes", route, admin));
  expect((await fetch(`${server.url}/r/other`, { method: "POST", headers })).status).toBe(403);
  const first = await server.api("POST", "/v1/functions/mine/invoke?async=true&priority=100", "[1]", headers);
  expectError(first, { status: 403, reason: "forbidden" });
  await server.api("DELETE", "/v1/functions/mine", undefined, admin);
  expect((await server.api("POST", "/v1/functions/other/invoke", "[1]", headers)).status).toBeOneOf([401, 429]);
});
