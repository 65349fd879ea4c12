import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TestServer } from "../../support/server.ts";
import { exchange, rawRequest } from "../support/raw-request.ts";

const KEY = "a-key-that-nobody-sends";

let open: TestServer;
let locked: TestServer;

beforeAll(async () => {
  [open, locked] = await Promise.all([TestServer.start(), TestServer.start({ API_KEY: KEY })]);
});

afterAll(async () => {
  await open[Symbol.asyncDispose]();
  await locked[Symbol.asyncDispose]();
});

/** Checks that an answer is the envelope of an error with a request id. */
function expectEnvelope({ headers, text }: Awaited<ReturnType<typeof rawRequest>>): void {
  const body: unknown = JSON.parse(text);
  expect(body).toMatchObject({ success: false, data: null, request_id: headers.get("x-request-id") });
}

/** Paths that some parsers take for one below /v1, /metrics or /swagger. */
const DISGUISED = [
  "/r/../v1/functions",
  "/r/%2e%2e/v1/functions",
  "/r/%2E./v1/functions",
  "/r/x/../../v1/functions",
  "/r/..%2fv1/functions",
  "/r/..%5cv1/functions",
  "/r\\..\\v1\\functions",
  "/r/..\\v1/functions",
  "/r/..;/v1/functions",
  "/r;/../v1/functions",
  "/healthz/../v1/functions",
  "/healthz/%2e%2e/v1/functions",
  "/./v1/functions",
  "//v1/functions",
  "///v1/functions",
  "/v1//functions",
  "/v1/./functions",
  "/v1/functions/",
  "/v1/functions/.",
  "/v1\\functions",
  "/v1/functions;x=1",
  "/v1/functions%00",
  "/v1/functions%2f",
  "/v1%2ffunctions",
  "/%76%31/functions",
  "/V1/functions",
  "/v1/functions#x",
  "/v1/functions?/r/x",
  "/r/../metrics",
  "/healthz/../metrics",
  "/metrics/",
  "/r/../swagger/json",
  "/swagger/../v1/invocations",
  "http://localhost/v1/functions",
  "http://example.com/v1/functions",
];

describe("a path in disguise", () => {
  test.each(DISGUISED)("GET %s never shows what needs a key", async (path) => {
    const reply = await rawRequest(locked.url, `GET ${path} HTTP/1.1`);
    expectEnvelope(reply);
    expect([400, 401, 404, 405]).toContain(reply.status);
  });

  test.each(DISGUISED)("POST %s never does what needs a key", async (path) => {
    const reply = await rawRequest(locked.url, `POST ${path} HTTP/1.1`, { body: '{"image": "x"}' });
    expectEnvelope(reply);
    expect([400, 401, 404, 405]).toContain(reply.status);
  });

  test.each(DISGUISED)("GET %s with a foreign Host never shows what needs a Host of ours", async (path) => {
    const reply = await rawRequest(open.url, `GET ${path} HTTP/1.1`, { headers: ["Host: example.com"] });
    expectEnvelope(reply);
    expect([400, 421, 404, 405]).toContain(reply.status);
  });
});

describe("a strange path", () => {
  const a = "a".repeat(20_000);
  test.each([
    ["/", 404],
    ["/unknown", 404],
    ["/r", 404],
    ["/r/", 404],
    ["/r/%00", 404],
    ["/r/%zz", 400],
    ["/v1", 404],
    ["/v1/", 404],
    ["/v1/unknown", 404],
    ["/v1/functions/%00", 404],
    ["/v1/functions/%zz", 404],
    ["/v1/functions/%ff", 404],
    ["/v1/functions/a/b", 404],
    ["/v1/functions/a/invoke/b", 404],
    ["/swagger/../../../etc/passwd", 400],
    ["/swagger/%2e%2e/%2e%2e/etc/passwd", 400],
    ["/swagger/..%2f..%2fetc%2fpasswd", 404],
    [`/${a}`, 404],
    [`/r/${a}`, 404],
    [`/v1/functions/${a}`, 404],
  ])("GET %.40s is answered with an envelope", async (path, status) => {
    const reply = await rawRequest(open.url, `GET ${path} HTTP/1.1`);
    expectEnvelope(reply);
    expect(reply.status).toBe(status);
    expect(reply.text.length).toBeLessThan(1000);
  });

  test("POST /r/ with 20 KB is answered with an envelope in the sandbox", async () => {
    const reply = await rawRequest(open.url, `POST /r/${a} HTTP/1.1`);
    expectEnvelope(reply);
    expect(reply.status).toBe(404);
    expect(reply.headers.get("content-security-policy")).toBe("sandbox");
  });

  test("POST /r/ with raw bytes beyond ASCII is answered with an envelope", async () => {
    const head = "POST /r/caf\xe9\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const reply = await exchange(open.url, Buffer.from(head, "latin1"));
    expect(reply).toStartWith("HTTP/1.1 404 ");
    expect(reply).toContain('"reason":"not_found"');
  });
});

describe("HTTP/1.0 without a Host", () => {
  test("GET /healthz answers", async () => {
    const reply = await rawRequest(open.url, "GET /healthz HTTP/1.0", { headers: [] });
    expect([reply.status, reply.text]).toEqual([200, '{"status":"ok"}']);
  });

  test("POST /r/* looks for the route", async () => {
    const reply = await rawRequest(open.url, "POST /r/none HTTP/1.0", { headers: [], body: "{}" });
    expectEnvelope(reply);
    expect(reply.status).toBe(404);
  });

  test("GET /v1/functions answers 421", async () => {
    const reply = await rawRequest(open.url, "GET /v1/functions HTTP/1.0", { headers: [] });
    expectEnvelope(reply);
    expect(reply.status).toBe(421);
    expect(reply.text).toContain("A request without an API key needs a Host");
  });

  test("GET /v1/functions answers 200 with the key", async () => {
    const headers = [`Authorization: Bearer ${KEY}`];
    expect((await rawRequest(locked.url, "GET /v1/functions HTTP/1.0", { headers })).status).toBe(200);
  });
});
