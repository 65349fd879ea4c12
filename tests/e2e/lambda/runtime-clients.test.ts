import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start({ WARM_MAX: "1" });
  image = await fixture("lambda");
});
afterAll(() => server[Symbol.asyncDispose]());

async function routeTo(fn: Function, path: string, options: object = {}): Promise<void> {
  const { status, body } = await server.api("POST", "/v1/routes", { path, function_id: fn.id, ...options });
  expect([status, body.message]).toEqual([200, "success"]);
}

function at(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/r${path}`, { timeout: false, ...init });
}

describe("AWS's own client for Node.js, in an image laid out like AWS's", () => {
  let fn: Function;

  beforeAll(async () => {
    fn = await server.createFunction(image, { name: "node", max_calls: 0, memory_bytes: 512 << 20 });
    await routeTo(fn, "/node/*");
  });

  test("is found by its entrypoint, gets events and answers them", async () => {
    expect(fn).toMatchObject({ contract: "lambda", contract_reason: "lambda_runtime", network: "none" });
    const response = await server.invoke(fn, '{"a":[1,"ä"]}');
    const id = response.headers.get("x-request-id") ?? "";
    expect([response.status, await response.json()]).toEqual([
      200,
      { event: { a: [1, "ä"] }, id, name: "node", runs: expect.any(Number) },
    ]);
    const { entries } = await server.logs(id);
    expect(entries.map(({ text }) => text).join("")).toContain("got an event");
  });

  test("an error that is thrown is the answer, and the function's own fault", async () => {
    const response = await server.invoke(fn, { do: "throw" });
    expect(response.headers.get("x-amz-function-error")).toBe("Unhandled");
    expect(await response.json()).toMatchObject({ errorType: "RangeError", errorMessage: "out of luck" });
    const record = await server.invocation(response.headers.get("x-request-id") ?? "");
    expect(record).toMatchObject({ status: "failed", reason: "function_failed" });
  });

  test("an answer over 6 MiB is refused as AWS does", async () => {
    const response = await server.invoke(fn, { do: "large" });
    expect(response.headers.get("x-amz-function-error")).toBe("Unhandled");
    expect(await response.json()).toMatchObject({ errorType: "Function.ResponseSizeTooLarge" });
    // The next call does not notice.
    expect((await server.invoke(fn, "{}")).status).toBe(200);
  });

  test("a request by a route is the event of a function URL", async () => {
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
  });

  test("the answer is what the function describes", async () => {
    const response = await at("/node/page?do=describe");
    expect(response.status).toBe(201);
    expect(response.headers.get("content-type")).toBe("text/html");
    expect(response.headers.get("x-path")).toBe("/page");
    expect(response.headers.getSetCookie()).toEqual(["a=1; HttpOnly", "b=2"]);
    expect(await response.text()).toBe("<p>hello</p>");
  });

  test("strangers learn nothing of a failure, and the record says all", async () => {
    const thrown = await at("/node/?do=throw");
    expect([thrown.status, await thrown.json()]).toEqual([502, { message: "Internal Server Error" }]);
    const malformed = await at("/node/?do=malformed");
    expect(malformed.status).toBe(502);
    const record = await server.invocation(malformed.headers.get("x-request-id") ?? "");
    expect(record).toMatchObject({ status: "failed", reason: "invalid_response" });
    expect(record.message).toContain('The function\'s answer has a malformed name in header 1 of "headers"');
  });

  test("a route with raw events hands over the body", async () => {
    await routeTo(fn, "/raw", { event: "raw" });
    const raw = await at("/raw?do=throw", { method: "POST", body: '{"b":2}' });
    expect(await raw.json()).toMatchObject({ event: { b: 2 } });
    expect((await at("/raw", { method: "POST", body: "{" })).status).toBe(400);
  });
});

test("an answer streams: its head and first piece are there before the end", async () => {
  const fn = await server.createFunction(image, { command: ["app.stream"] });
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

test("a runtime in sh with curl, of which eight calls at once are eight processes", async () => {
  const entrypoint = ["/opt/bootstrap"];
  const fn = await server.createFunction(image, { contract: "lambda", entrypoint, command: ["my.handler"] });
  const answers = await Promise.all(
    Array.from({ length: 8 }, async (_, n) => {
      const response = await server.invoke(fn, { n });
      const said = (await response.json()) as { host: string; id: string; event: unknown }; // as the script writes it
      expect(said).toMatchObject({ event: { n }, id: response.headers.get("x-request-id") });
      return said.host;
    }),
  );
  expect(new Set(answers).size).toBe(8);
});
