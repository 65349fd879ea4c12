import { afterAll, beforeAll, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { register } from "./lambda-function.ts";

/** The volume in which each of eight calls leaves a file, and waits until all have. */
const MEETING = "slipway-test-meeting";

let server: TestServer;
let engine: Engine;
let image: string;

beforeAll(async () => {
  engine = await acquireEngine();
  server = await TestServer.start({ WARM_MAX: "0" });
  image = await fixture("lambda");
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await engine.docker("volume", "rm", "--force", MEETING);
});

/** The settings of the image as it is, with AWS's own client for Node.js; one instance serves the calls of a test. */
function node(settings: object = {}) {
  return { image, contract: undefined, command: undefined, max_calls: 0, ...settings };
}

async function routeTo(fn: Pick<Function, "id">, path: string, options: object = {}): Promise<void> {
  const { status, body } = await server.api("POST", "/v1/routes", { path, function_id: fn.id, ...options });
  expect([status, body.message]).toEqual([200, "success"]);
}

function at(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/r${path}`, { timeout: false, ...init });
}

test("AWS's own client for Node.js, in an image laid out like AWS's, gets events and answers them", async () => {
  await using fn = await register(server, node({ name: "node" }));
  expect(fn).toMatchObject({ contract: "lambda", contract_reason: "lambda_runtime", network: "none" });
  const response = await server.invoke(fn, '{"a":[1,"ä"]}');
  const id = response.headers.get("x-request-id") ?? "";
  const answer = { event: { a: [1, "ä"] }, id, name: "node" };
  expect([response.status, await response.json()]).toEqual([200, answer]);
  const { entries } = await server.logs(id);
  expect(entries.map(({ text }) => text).join("")).toContain("got an event");
  const thrown = await server.invoke(fn, { do: "throw" });
  expect(thrown.headers.get("x-amz-function-error")).toBe("Unhandled");
  expect(await thrown.json()).toMatchObject({ errorType: "RangeError", errorMessage: "out of luck" });
  const record = await server.ended(thrown.headers.get("x-request-id") ?? "");
  expect(record).toMatchObject({ status: "failed", reason: "function_failed" });
  const large = await server.invoke(fn, { do: "large" });
  expect(large.headers.get("x-amz-function-error")).toBe("Unhandled");
  expect(await large.json()).toMatchObject({ errorType: "Function.ResponseSizeTooLarge" });
});

test("a request by a route is the event of a function URL, and the answer is what the function describes", async () => {
  await using fn = await register(server, node());
  await routeTo(fn, "/node/*");
  const response = await at("/node/a%20b?x=1&x=2", { method: "PUT", body: "text", headers: { Cookie: "c=d; e=f" } });
  const id = response.headers.get("x-request-id");
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/json"]);
  expect(await response.json()).toMatchObject({
    event: {
      version: "2.0",
      rawPath: "/a%20b",
      rawQueryString: "x=1&x=2",
      cookies: ["c=d", "e=f"],
      queryStringParameters: { x: "1,2" },
      requestContext: { http: { method: "PUT", path: "/a%20b", sourceIp: "127.0.0.1" }, requestId: id },
      body: "text",
      isBase64Encoded: false,
    },
  });
  const binary = await at("/node/", { method: "POST", body: new Uint8Array([255, 0]) });
  expect(await binary.json()).toMatchObject({ event: { body: "/wA=", isBase64Encoded: true } });

  const page = await at("/node/page?do=describe");
  expect([page.status, page.headers.get("content-type")]).toEqual([201, "text/html"]);
  expect(page.headers.get("x-path")).toBe("/page");
  expect(page.headers.getSetCookie()).toEqual(["a=1; HttpOnly", "b=2"]);
  expect(await page.text()).toBe("<p>hello</p>");
  const { entries } = await server.logs(page.headers.get("x-request-id") ?? "");
  const log = entries.map(({ text }) => text).join("");
  expect(log).toContain('slipway: the header "connection" is left out: it is about one connection only');

  // With raw events it is the body.
  await routeTo(fn, "/raw", { event: "raw" });
  const raw = await at("/raw?do=throw", { method: "POST", body: '{"b":2}' });
  expect(await raw.json()).toMatchObject({ event: { b: 2 } });
  expect((await at("/raw", { method: "POST", body: "{" })).status).toBe(400);

  // Strangers learn nothing of a failure, and the record says all.
  const thrown = await at("/node/?do=throw");
  expect([thrown.status, await thrown.json()]).toEqual([502, { message: "Internal Server Error" }]);
  const malformed = await at("/node/?do=malformed");
  expect(malformed.status).toBe(502);
  const record = await server.ended(malformed.headers.get("x-request-id") ?? "");
  expect(record).toMatchObject({ status: "failed", reason: "invalid_response" });
  expect(record.message).toContain('The function\'s answer has a malformed name in header 1 of "headers"');
});

test("an answer streams: its head and first piece are there before the end", async () => {
  await using fn = await register(server, node({ command: ["app.stream"] }));
  await routeTo(fn, "/stream");
  const whole = await at("/stream");
  expect([whole.status, whole.headers.get("content-type")]).toEqual([202, "text/event-stream"]);
  expect(whole.headers.getSetCookie()).toEqual(["s=1"]);
  expect(await whole.text()).toBe("data: first\n\ndata: second\n\n");
  const held = await at("/stream?hold");
  const reader = held.body?.getReader();
  let text = "";
  while (!text.endsWith("\n\n")) text += Buffer.from((await reader?.read())?.value ?? []).toString();
  expect([held.status, text]).toEqual([202, "data: first\n\n"]);
  await reader?.cancel();
});

test("a runtime in sh with curl, of which eight calls at once are eight processes that run at the same moment", async () => {
  await using fn = await register(server, {
    image,
    entrypoint: ["/opt/bootstrap"],
    command: ["my.handler"],
    environment: { MEET: "/meet", MANY: "8" },
    volumes: [{ name: MEETING, path: "/meet", read_only: false }],
    timeout_ms: 120_000,
    probe: false,
  });
  const hosts = await Promise.all(
    Array.from({ length: 8 }, async (_, n) => {
      const response = await server.invoke(fn, { n });
      const said = (await response.json()) as { host: string; id: string; event: unknown }; // as the script writes it
      expect(said).toMatchObject({ event: { n }, id: response.headers.get("x-request-id") });
      return said.host;
    }),
  );
  expect(new Set(hosts).size).toBe(8);
});
