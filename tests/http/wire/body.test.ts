import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { type Reply, TestServer } from "../../support/server.ts";
import { exchange, parseReply } from "../support/raw-request.ts";
import { expectError } from "../support/replies.ts";

const LIMIT = 64 * 1024;
const API_LIMIT = 128 * 1024;
const FUNCTION_LIMIT = 1024 * 1024;

let server: TestServer;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start({ MAX_REQUEST_BYTES: String(LIMIT) });
  fn = await server.createFunction(await fixture("static"), { name: "chaos" });
  await server.createRoute("/echo", fn.id);
});

afterAll(() => server[Symbol.asyncDispose]());

async function post(path: string, body: Bun.BodyInit, headers: Record<string, string> = {}): Promise<Reply> {
  const response = await fetch(server.url + path, { method: "POST", body, headers });
  // The envelope, which `expectError` checks.
  return { status: response.status, headers: response.headers, body: (await response.json()) as Reply["body"] };
}

/** A body without a length, in pieces. */
function stream(bytes: number): ReadableStream<Uint8Array> {
  let left = bytes;
  return new ReadableStream({
    pull(controller) {
      const piece = new Uint8Array(Math.min(left, 16 * 1024)).fill(0x20);
      left -= piece.length;
      if (piece.length === 0) controller.close();
      else controller.enqueue(piece);
    },
  });
}

describe("a body that is not a JSON object", () => {
  test.each<readonly [string, Bun.BodyInit, string]>([
    ["nothing", "", "The request has no body: send a JSON object"],
    ["null", "null", "The body must be a JSON object, but it is null"],
    ["a list", "[]", "The body must be a JSON object, but it is a list"],
    ["a number", "5", "The body must be a JSON object, but it is 5"],
    ["a text", '"x"', 'The body must be a JSON object, but it is "x"'],
    ["white space", " \n", "The request body is not JSON: Unexpected EOF"],
    ["half an object", '{"path": ', "The request body is not JSON: Unexpected EOF"],
    ["a form", "path=/x", "The request body is not JSON: Unexpected identifier"],
    ["bytes that are not UTF-8", new Uint8Array([0x7b, 0xff, 0x7d]), "The request body is not JSON: it is not UTF-8"],
    ["10^5 lists", "[".repeat(1e5), "The request body is not JSON: it is nested deeper than 64 levels"],
    ["many objects", '{"a":'.repeat(2e4), "The request body is not JSON: it is nested deeper than 64 levels"],
    [
      "lists that end",
      `${"[".repeat(6e4)}${"]".repeat(6e4)}`,
      "The request body is not JSON: it is nested deeper than 64 levels",
    ],
    [
      "60,000 values",
      `{"path": [${"1,".repeat(6e4)}1]}`,
      "The request body is not JSON: it has more than 20000 values",
    ],
    [
      "__proto__",
      '{"path": "/x", "function_id": "x", "__proto__": {"path": "/y"}}',
      'Unknown field "__proto__": expected "path", "function_id", "methods", "auth", "cors", "rate_limit", "max_request_bytes", "async", "version", "split", "event" or "hosts"',
    ],
    [
      "an object that is not text",
      '{"path": {"toString": false, "valueOf": 1}, "function_id": "x"}',
      'Invalid "path": it must be a string, but it is an object',
    ],
  ])("POST /v1/routes answers 400 to %s", async (_name, body, message) => {
    expectError(await post("/v1/routes", body), { status: 400, reason: "invalid_request", message });
  });

  test("POST /v1/functions/:id/pull and DELETE do not read a body", async () => {
    expect((await post("/v1/functions/chaos/pull", "{")).status).toBe(200);
    const reply = await server.api("DELETE", "/v1/routes/unknown", "{", { "Content-Encoding": "gzip" });
    expectError(reply, { status: 404, reason: "not_found" });
  });
});

describe("a content type", () => {
  test.each([
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/xml",
    "application/octet-stream",
    "nonsense",
  ])("POST /v1/routes reads JSON with the content type %s", async (type) => {
    const path = `/${encodeURIComponent(type).replaceAll("%", "-")}`;
    const reply = await post("/v1/routes", JSON.stringify({ path, function_id: fn.id }), { "Content-Type": type });
    expect(reply.status).toBe(200);
  });

  test("POST /v1/routes reads JSON without a content type", async () => {
    const body = JSON.stringify({ path: "/untyped", function_id: fn.id });
    const head = ["POST /v1/routes HTTP/1.1", "Host: localhost", `Content-Length: ${body.length}`, "Connection: close"];
    expect(parseReply(await exchange(server.url, `${head.join("\r\n")}\r\n\r\n${body}`)).status).toBe(200);
  });

  test.each(["application/json", "application/x-www-form-urlencoded", "text/plain"])(
    "POST /r/* passes on a body with the content type %s",
    async (type) => {
      const body = '{"do": "echo"}';
      const response = await fetch(`${server.url}/r/echo`, { method: "POST", body, headers: { "Content-Type": type } });
      expect(await response.text()).toBe(body);
    },
  );
});

describe("a body over the limit", () => {
  test.each([
    ["POST", "/v1/routes", API_LIMIT],
    ["PATCH", "/v1/functions/chaos", FUNCTION_LIMIT],
    ["POST", "/r/echo", LIMIT],
    ["POST", "/v1/functions/chaos/invoke", LIMIT],
  ])("%s %s answers 413 with and without a length", async (method, path, limit) => {
    for (const body of [new Uint8Array(limit + 1).fill(0x20), stream(limit + 1)]) {
      const response = await fetch(server.url + path, { method, body });
      const reply = {
        status: response.status,
        headers: response.headers,
        body: (await response.json()) as Reply["body"],
      };
      const message = `The request body is over the limit of ${limit} bytes: send a smaller one`;
      expectError(reply, { status: 413, reason: "payload_too_large", message });
    }
  });

  test("POST /r/* accepts a body of exactly the limit", async () => {
    const body = `"${"x".repeat(LIMIT - 2)}"`;
    const response = await fetch(`${server.url}/r/echo`, { method: "POST", body });
    expect(await response.text()).toBe(body);
  });

  test.each(["/v1/routes", "/r/echo"])(
    "POST %s answers 413 to a length of 9 TB before any byte arrives",
    async (path) => {
      const head = [`POST ${path} HTTP/1.1`, "Host: localhost", "Content-Length: 9000000000000", "Connection: close"];
      const reply = parseReply(await exchange(server.url, `${head.join("\r\n")}\r\n\r\n`));
      expect(reply.status).toBe(413);
      expect(JSON.parse(reply.text)).toMatchObject({ success: false, reason: "payload_too_large" });
    },
  );
});

describe("a content encoding", () => {
  const bomb = Bun.gzipSync(new Uint8Array(64 * 1024 * 1024));

  // D4
  test.each(["gzip", "GZIP", "br, gzip", "x".repeat(200), "identity, identity"])(
    "POST /v1/routes answers 415 to %s, says what it reads, and unpacks nothing",
    async (encoding) => {
      const before = process.memoryUsage.rss();
      const reply = await post("/v1/routes", bomb, { "Content-Encoding": encoding });
      const shown = JSON.stringify(encoding.length > 40 ? `${encoding.slice(0, 40)}...` : encoding);
      expectError(reply, {
        status: 415,
        reason: "unsupported_encoding",
        message: `Content-Encoding ${shown} is not supported here: send the body without one`,
      });
      expect(reply.headers.get("accept-encoding")).toBe("identity");
      expect(process.memoryUsage.rss() - before).toBeLessThan(32 * 1024 * 1024);
    },
  );

  test.each([
    ["PATCH", "/v1/functions/chaos"],
    ["PUT", "/v1/secrets/x"],
    ["POST", "/v1/apply"],
    ["POST", "/v1/schedules"],
  ])("%s %s answers 415", async (method, path) => {
    const reply = await server.api(method, path, "{}", { "Content-Encoding": "gzip" });
    expectError(reply, { status: 415, reason: "unsupported_encoding" });
  });

  test("POST /r/* accepts identity", async () => {
    const response = await fetch(`${server.url}/r/echo`, {
      method: "POST",
      body: "[1]",
      headers: { "Content-Encoding": "Identity" },
    });
    expect(await response.text()).toBe("[1]");
  });
});
