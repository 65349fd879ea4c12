import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { allowedMethods } from "../../../lib/http/wire/allowed-methods.ts";
import { TestServer } from "../../support/server.ts";
import { rawRequest } from "../support/raw-request.ts";
import { expectError } from "../support/replies.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
});

afterAll(() => server[Symbol.asyncDispose]());

const ALLOWED = {
  "/v1/functions": "GET, HEAD, POST",
  "/v1/functions/": "GET, HEAD, POST",
  "/v1/functions/x": "DELETE, GET, HEAD, PATCH",
  "/v1/functions/x/pull": "POST",
  "/v1/functions/x/invoke": "POST",
  "/v1/routes": "GET, HEAD, POST",
  "/v1/routes/x": "DELETE, GET, HEAD, PATCH",
  "/v1/invocations": "GET, HEAD",
  "/v1/invocations/x": "GET, HEAD",
  "/v1/invocations/x/logs": "GET, HEAD",
  "/healthz": "GET, HEAD",
  "/readyz": "GET, HEAD",
  "/metrics": "GET, HEAD",
  "/swagger": "GET, HEAD",
  "/swagger/json": "GET, HEAD",
  "/swagger/full.json": "GET, HEAD",
  "/docs": "GET, HEAD",
  "/docs/functions": "GET, HEAD",
} as const;

/** Methods that none of the paths has, used in turn. */
const WRONG = ["PUT", "OPTIONS", "TRACE", "PROPFIND", "QUERY"];

describe("a wrong method", () => {
  test.each(Object.entries(ALLOWED).map(([path, allow], i) => [WRONG[i % WRONG.length] ?? "PUT", path, allow]))(
    "%s %s answers 405 and allows %s",
    async (method, path, allow) => {
      const { status, headers, text } = await rawRequest(server.url, `${method} ${path} HTTP/1.1`);
      expectError(
        { status, headers, body: JSON.parse(text) },
        {
          status: 405,
          reason: "method_not_allowed",
          message: `Method ${method} is not allowed: use ${allow.replaceAll(", ", " or ")}`,
        },
      );
      expect(headers.get("allow")).toBe(allow);
    },
  );

  test.each(["PUT", "OPTIONS", "DELETE"])("%s /nowhere answers 404", async (method) => {
    expectError(await server.api(method, "/nowhere"), { status: 404, reason: "not_found" });
  });
});

describe("HEAD", () => {
  test.each([
    ["/v1/functions", 200],
    ["/v1/routes", 200],
    ["/v1/invocations", 200],
    ["/v1/functions/unknown", 404],
    ["/healthz", 200],
    ["/metrics", 200],
    ["/swagger", 200],
    ["/r/x", 404],
    ["/v1/functions/x/invoke", 405],
    ["/nowhere", 404],
  ])("HEAD %s answers %d without a body", async (path, status) => {
    const reply = await rawRequest(server.url, `HEAD ${path} HTTP/1.1`);
    expect([reply.status, reply.text]).toEqual([status, ""]);
    expect(reply.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });
});

test("allowedMethods is empty for paths that do not exist", () => {
  const routes = [
    { method: "GET", path: "/v1/functions/:id" },
    { method: "POST", path: "/r/*" },
  ];
  expect(allowedMethods(routes, "/v1/functions/a")).toEqual(["GET", "HEAD"]);
  expect(allowedMethods(routes, "/v1/functions/a/b")).toEqual([]);
  expect(allowedMethods(routes, "/v1/functions")).toEqual([]);
  expect(allowedMethods(routes, "/r")).toEqual([]);
  expect(allowedMethods(routes, "/r/a/b")).toEqual(["POST"]);
});
