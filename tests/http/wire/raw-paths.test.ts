import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { rawRequest } from "../support/raw-request.ts";

/** The meaning of a path must not depend on who reads it: a proxy compares its bytes, Bun's `request.url` is resolved. */
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
  const fn = await server.createFunction(await fixture("shell"), {
    entrypoint: ["sh", "-c"],
    command: ["cat $CONTEXT_PATH/request.meta.json > $CONTEXT_PATH/response.json"],
  });
  await server.api("POST", "/v1/routes", { path: "/see/*", function_id: fn.id, methods: ["GET"] });
});

afterAll(() => server[Symbol.asyncDispose]());

const get = (target: string, host = "localhost") =>
  rawRequest(server.url, `GET ${target} HTTP/1.1`, { headers: [`Host: ${host}`] });

describe("a path that is read differently once it is resolved", () => {
  test.each([
    "/r/..\\v1/functions",
    "/r/.%2e\\v1/functions",
    "/r/%2E%2e\\v1\\functions",
    "/r/../v1/functions",
    "/r/%2e%2e/v1/functions",
    "/r/.%2E/v1/functions",
    "/r/a/../../v1/functions",
    "/r/a/..\\..\\v1/functions",
    "/r\\..\\v1/functions",
    "/r/.\\..\\v1/functions",
    "/r//..\\..\\v1/functions",
    "/r/a//../..\\../v1/functions",
    "/r/..\\metrics",
    "/r/..\\docs",
    "/r/..\\swagger/json",
    "/healthz\\..\\v1/functions",
    "/metrics/..\\v1/keys",
    "/v1/invocations\\..\\keys",
    "/v1/x/..\\r/x",
    "/r/public/..\\private",
    "/r/public/./private",
    "http://localhost/r/..\\v1/functions",
    "http://localhost/r/../v1/functions",
    "HTTP://localhost/r/%2e%2e/v1/functions",
    "/r/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/..\\..\\..\\..\\..\\..\\..\\..\\..\\..\\..\\..\\..\\..\\..\\..\\v1/functions",
  ])("GET %s is 400", async (target) => {
    const reply = await get(target);
    expect(JSON.parse(reply.text)).toMatchObject({
      success: false,
      reason: "invalid_request",
      request_id: reply.headers.get("x-request-id"),
    });
    expect(reply.status).toBe(400);
  });

  test("a path that begins with an empty segment reaches nothing", async () => {
    for (const target of ["//v1/functions", "//..\\v1/functions", "//../v1/functions", "//r/../../v1/functions"]) {
      expect([target, (await get(target)).status]).toEqual([target, 404]);
    }
  });

  test.each([
    "a@localhost",
    "a@b.localhost",
    "localhost/",
    "localhost/r",
    "localhost#",
    "localhost?",
    "a\\localhost",
    "local host",
  ])("a Host of %s, for which Bun gives no resolved URL, is 400", async (host) => {
    // Elysia looks for the path of a URL behind its seventh character.
    for (const target of ["/r/a/b/c/v1/functions", "/r/aaaaaaa/v1/functions", "/r/../v1/functions"]) {
      expect([target, (await get(target, host)).status]).toEqual([target, 400]);
    }
  });

  test("HTTP/1.0 without a Host has paths, too", async () => {
    for (const [target, status] of [
      ["/r/a/b/c/v1/functions", 404],
      ["/r/../v1/functions", 400],
      ["/r/..\\v1/functions", 400],
    ] as const) {
      const reply = await rawRequest(server.url, `GET ${target} HTTP/1.0`, { headers: [] });
      expect([target, reply.status]).toEqual([target, status]);
      expect(reply.text).toContain(status === 404 ? "No route" : "resolved");
    }
  });
});

describe("a path that is read alike by everyone", () => {
  test.each([
    ["/v1/functions", 200],
    ["/v1/functions/", 200],
    ["/v1/functions?x=/../..\\", 200],
    ["/healthz", 200],
    ["/healthz/", 200],
    ["http://elsewhere.example/healthz", 200],
    ["/docs/functions", 200],
    ["/r/a?b=../../v1", 404],
    ["/r/a%2fb%5c%2e%2e", 404],
    ["/r/a//b/", 404],
    ['/r/caf%C3%A9/caf%c3%a9/"<>`{}|^', 404],
    ["/r/a%252e%252e", 404],
    ["/r/%zz", 400],
    ["/r/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20", 404],
  ])("GET %s is answered as ever: %d", async (target, status) => {
    expect((await get(target)).status).toBe(status);
  });
});

test("whatever begins with /r/ is answered by /r or refused", async () => {
  const dots = fc.constantFrom("..", ".", "%2e", "%2E%2e", ".%2e", "%252e");
  const separators = fc.constantFrom("/", "//", "\\", "%5c", "%2f", "%", "%00", "#", "?", ";", ":", "@");
  const words = fc.constantFrom("v1", "functions", "metrics", "docs", "swagger", "keys", "r", "a", "ä");
  const piece = fc.oneof(dots, separators, words);
  const target = fc.array(piece, { maxLength: 14 }).map((pieces) => `/r/${pieces.join("")}`);
  const before = fc.constantFrom("", "", "", "http://localhost", "https://x");
  const host = fc.constantFrom("localhost", "a@localhost", "x.localhost", "localhost/v1", "", "localhost:99999");
  await fc.assert(
    fc.asyncProperty(before, target, host, async (before, target, host) => {
      const { headers, text } = await get(before + target, host);
      // Every answer below /r has this header; the answers of Bun's own parser have no body.
      expect(headers.get("content-security-policy") === "sandbox" || text === "").toBe(true);
    }),
    { numRuns: 400 },
  );
});

describe("the url that a function gets", () => {
  test.each([
    ["/r/see/A%2f%2F~%7e?b=%2e&c=//d?\\..", "/r/see/A%2f%2F~%7e?b=%2e&c=//d?\\.."],
    ['/r/see/"<>`^{}|?"<>`^{}|', "/r/see/%22%3C%3E%60%5E%7B%7D|?%22%3C%3E`^{}|"],
    ["/r/see/\u00ff?\u00ff", "/r/see/%C3%BF?%C3%BF"],
    ["http://elsewhere.example/r/see/x?y", "/r/see/x?y"],
  ])("for %s is %s", async (target, url) => {
    const reply = await get(target);
    expect(JSON.parse(reply.text)).toMatchObject({ url });
  });
});

test("a request with 198 headers is answered, one more is 431", async () => {
  for (const [count, status] of [
    [198, 200],
    [199, 431],
  ] as const) {
    // Two are those that every request here has.
    const headers = ["Host: localhost", ...Array.from({ length: count - 2 }, (_, index) => `x-${index}: 1`)];
    expect((await rawRequest(server.url, "GET /healthz HTTP/1.1", { headers })).status).toBe(status);
  }
});
