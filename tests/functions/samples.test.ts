import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Function } from "../../lib/domain/functions/functions.ts";
import { acquireEngine } from "../../.ci/engine/engine.ts";
import { buildSample, type SampleName } from "../../.ci/engine/samples.ts";
import { TestServer } from "../support/server.ts";

const server = await TestServer.start();
afterAll(() => server[Symbol.asyncDispose]());

/** Tests that calls of a sample are answered as its README says. */
function describeSample(name: SampleName, cases: readonly (readonly [string, number, string])[]): void {
  describe(name, () => {
    let fn: Function;

    beforeAll(async () => {
      const { client } = await acquireEngine();
      fn = await server.createFunction((await buildSample(client, name, true)).reference);
    });

    test.each(cases)("answers %s with %d", async (request, status, response) => {
      const answer = await server.invoke(fn, request);
      expect(await answer.text()).toBe(response);
      expect(answer.status).toBe(status);
      expect(answer.headers.get("x-function-exit-code")).toBe(status === 200 ? "0" : "1");
    });
  });
}

describeSample("hello-world", [
  ['{"message": "m"}', 200, '{"success":true,"data":{"message":"m"}}'],
  [
    String.raw`{"message": "\"\\\n\u00e9"}`,
    200,
    // Not with String.raw: Bun 1.4.5 turns the letter into its escape there.
    JSON.stringify({ success: true, data: { message: '"\\\n\u00e9' } }),
  ],
  ["{}", 500, '{"success":false,"message":"missing message"}'],
  ["", 500, '{"success":false,"message":"missing message"}'],
  ["null", 500, '{"success":false,"message":"missing message"}'],
  ['{"message": 1}', 500, '{"success":false,"message":"message must be a string"}'],
  ["no JSON", 500, '{"success":false,"message":"the request is not JSON"}'],
]);

const MISSING = '{"success": false, "message": "missing message"}\n';
const NO_STRING = '{"success": false, "message": "message must be a string"}\n';

describeSample("hello-sh", [
  ['{"message": "m"}', 200, '{"success": true, "message": "m"}\n'],
  [
    String.raw`{"message": "\"\\\n\u00e9 {}[],: 'it' $HOME %s"}`,
    200,
    String.raw`{"success": true, "message": "\"\\\n\u00e9 {}[],: 'it' $HOME %s"}` + "\n",
  ],
  ['{\n  "message"\n:\n"pretty"\n}', 200, '{"success": true, "message": "pretty"}\n'],
  ['{"message": "one", "message": "two"}', 200, '{"success": true, "message": "two"}\n'],
  ['{"a": {"message": "no"}, "b": ["message"], "message": "yes"}', 200, '{"success": true, "message": "yes"}\n'],
  [String.raw`{"a": "\"message\": \"no\"", "b\\": "message"}`, 500, MISSING],
  ['{"a": {"message": "no"}}', 500, MISSING],
  ['["message", "no"]', 500, MISSING],
  [String.raw`{"message": "\q"}`, 500, MISSING],
  ['{"message": "cut off', 500, MISSING],
  ["{}", 500, MISSING],
  ['{"message": 1}', 500, NO_STRING],
  ['{"message": {"message": "no"}}', 500, NO_STRING],
]);

describe("http-sh", () => {
  let fn: Function;

  beforeAll(async () => {
    const { client } = await acquireEngine();
    fn = await server.createFunction((await buildSample(client, "http-sh", true)).reference);
  });

  const WRONG = '{"success": false, "message": "send a text, with Content-Type: text/plain"}\n';

  test.each([
    ["text/plain", "hello", 201, "HELLO", "text/plain"],
    ["application/x-www-form-urlencoded", "a=b", 201, "A=B", "text/plain"],
    ["application/json", "{}", 415, WRONG, "application/json"],
  ])("answers %s %s with %d", async (type, request, status, response, answerType) => {
    const answer = await server.invoke(fn, request, { headers: { "content-type": type } });
    expect([answer.status, await answer.text()]).toEqual([status, response]);
    expect(answer.headers.get("content-type")).toBe(answerType);
    expect(answer.headers.get("x-function-exit-code")).toBe("0");
  });
});

describe("checksum-stdio", () => {
  let fn: Function;

  beforeAll(async () => {
    const { client } = await acquireEngine();
    fn = await server.createFunction((await buildSample(client, "checksum-stdio", true)).reference);
  });

  test.each([
    ["hello", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  -\n"],
    ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  -\n"],
  ])("answers %p with its checksum", async (request, response) => {
    const answer = await server.invoke(fn, request);
    expect([answer.status, await answer.text()]).toEqual([200, response]);
    expect(answer.headers.get("content-type")).toBe("text/plain");
  });
});

describe("lambda-sh", () => {
  let fn: Function;

  beforeAll(async () => {
    const { client } = await acquireEngine();
    const { reference } = await buildSample(client, "lambda-sh", true);
    const { status, body } = await server.api<Function>("POST", "/v1/functions", { image: reference, network: "none" });
    expect([status, body.data.contract, body.data.contract_reason]).toEqual([201, "lambda", "label"]);
    fn = body.data;
  });

  test.each([
    ['{"name": "Ada"}', '{"message": "Hello, Ada!"}'],
    ["", '{"message": "Hello, world!"}'],
  ])("answers the event %p", async (event, payload) => {
    const answer = await server.invoke(fn, event);
    expect([answer.status, await answer.text()]).toEqual([200, payload]);
  });
});

describe("http-server", () => {
  let url = "";

  beforeAll(async () => {
    const { client } = await acquireEngine();
    const fn = await server.createFunction((await buildSample(client, "http-server", true)).reference);
    expect([fn.contract, fn.contract_reason, fn.port, fn.port_reason]).toEqual(["http", "label", 8080, "label"]);
    const { body } = await server.api("POST", "/v1/routes", { path: "/server/*", function_id: fn.id });
    if (!body.success) throw new Error(body.message);
    url = `${server.url}/r/server`;
  });

  test.each([
    ["GET", "/hello/Ada", undefined, 200, '{"message":"Hello, Ada"}'],
    ["POST", "/", "hi", 200, "You said: hi\n"],
    ["GET", "/other", undefined, 404, "There is no such page\n"],
  ])("answers %s %s", async (method, path, body, status, said) => {
    const answer = await fetch(url + path, { method, ...(body === undefined ? {} : { body }) });
    expect([answer.status, await answer.text()]).toEqual([status, said]);
  });
});

describe("page", () => {
  const HOST = "page.example.com";
  const files = join(import.meta.dir, "../../functions/page");

  beforeAll(async () => {
    const { client } = await acquireEngine();
    const fn = await server.createFunction((await buildSample(client, "page", true)).reference);
    expect([fn.contract, fn.max_calls, fn.concurrency]).toEqual(["http", 0, 32]);
    const { body } = await server.api("POST", "/v1/routes", { hosts: [HOST], function_id: fn.id, methods: ["GET"] });
    if (!body.success) throw new Error(body.message);
  });

  test.each([
    ["/", "index.html", "text/html"],
    ["/page.js", "page.js", /javascript/],
  ])("answers GET %s at its host with %s, which no sandbox keeps from running", async (path, file, type) => {
    const answer = await fetch(server.url + path, { headers: { host: HOST } });
    expect([answer.status, await answer.text()]).toEqual([200, await Bun.file(join(files, file)).text()]);
    expect(answer.headers.get("content-type")).toMatch(type);
    expect(answer.headers.get("content-security-policy")).toBeNull();
  });

  test("answers GET /other at its host with 404", async () => {
    expect((await fetch(`${server.url}/other`, { headers: { host: HOST } })).status).toBe(404);
  });
});
