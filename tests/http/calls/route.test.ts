import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import type { Key, NewKey } from "../../../lib/domain/keys.ts";
import type { CreateRoute, Route } from "../../../lib/domain/routes/routes.ts";
import { fixture } from "../../support/images.ts";
import { type Reply, TestServer } from "../../support/server.ts";
import { rawRequest } from "../support/raw-request.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const ADMIN = "the-key-of-an-administrator-of-this-server";
const PAGE = "https://page.example";

let server: TestServer;
let fn: Function;
let other: Function;
const made: string[] = [];

beforeAll(async () => {
  server = await TestServer.start({ API_KEY: ADMIN, MAX_REQUEST_BYTES: "1KiB" });
  const image = await fixture("static");
  fn = await create({ image, name: "called" });
  other = await create({ image, name: "other" });
});

afterEach(async () => {
  for (const id of made.splice(0)) await admin("DELETE", `/v1/routes/${id}`);
});

afterAll(() => server[Symbol.asyncDispose]());

function admin<T>(method: string, path: string, body?: object): Promise<Reply<T>> {
  return server.api<T>(method, path, body, { Authorization: `Bearer ${ADMIN}` });
}

async function create(body: object): Promise<Function> {
  return expectSuccess(await admin<Function>("POST", "/v1/functions", body), 201);
}

async function route(path: string, options: Partial<CreateRoute> = {}): Promise<Route> {
  const created = expectSuccess(await admin<Route>("POST", "/v1/routes", { path, function_id: fn.id, ...options }));
  made.push(created.id);
  return created;
}

async function newKey(body: object): Promise<NewKey> {
  return expectSuccess(await admin<NewKey>("POST", "/v1/keys", body), 201);
}

function call(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/r${path}`, { method: "POST", ...init });
}

/** Checks the envelope of one of our errors, in the sandbox like everything below /r. */
async function refused(response: Response, expected: Parameters<typeof expectError>[1]): Promise<void> {
  const sent = (await response.json()) as Reply["body"]; // expectError looks at it
  const body = response.status === 429 ? { ...sent, message: toMinutes(sent.message) } : sent;
  expectError({ status: response.status, headers: response.headers, body }, expected);
  expect(response.headers.get("content-security-policy")).toBe("sandbox");
}

/** Rounds numbers of seconds up to whole minutes: on a busy machine some seconds pass between the calls of a test. */
function toMinutes<T extends string | null>(text: T): T | string {
  return text === null ? text : text.replace(/\d{4,}/g, (seconds) => String(Math.ceil(Number(seconds) / 60) * 60));
}

async function recordsOf(id: string): Promise<number> {
  return expectSuccess(await admin<InvocationPage>("GET", `/v1/invocations?function_id=${id}`)).invocations.length;
}

describe("the methods of a route", () => {
  test.each(["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "QUERY", "PROPFIND"])(
    "%s /r/<path> answers 405 and allows POST if the route names no methods",
    async (method) => {
      await route("/seed");
      const { status, headers, text } = await rawRequest(server.url, `${method} /r/seed HTTP/1.1`);
      expect([status, headers.get("allow")]).toEqual([405, "POST"]);
      if (method === "HEAD") return expect(text).toBe("");
      expectError(
        { status, headers, body: JSON.parse(text) },
        { status: 405, reason: "method_not_allowed", message: `Method ${method} is not allowed: use POST` },
      );
    },
  );

  test.each<[CreateRoute["methods"], Partial<CreateRoute>, allow: string]>([
    [["GET"], {}, "GET, HEAD"],
    [["HEAD"], {}, "HEAD"],
    [["PUT", "GET", "DELETE"], {}, "DELETE, GET, HEAD, PUT"],
    [["OPTIONS"], {}, "OPTIONS"],
    [["PATCH"], { cors: { origins: ["*"] } }, "OPTIONS, PATCH"],
  ])("POST /r/<path> answers 405 if the methods are %j, with %j", async (methods = [], options, allow) => {
    await route("/some", { methods, ...options });
    const response = await call("/some");
    expect(response.headers.get("allow")).toBe(allow);
    await refused(response, { status: 405, reason: "method_not_allowed" });
  });

  test("GET /r/<path> answers 404 if there is no route, like any method", async () => {
    for (const method of ["GET", "OPTIONS", "PURGE"]) {
      await refused(await call("/none", { method }), { status: 404, reason: "not_found" });
    }
  });
});

describe("a prefix", () => {
  test.each(["/p/%2e%2e%2fother", "/p/..%2f", "/p/a%2f..%2f..", "/p/%2e%2fx", "/p/a%2f."])(
    "POST /r%s answers 400: the rest of the path would lead elsewhere",
    async (path) => {
      await route("/p/*");
      await refused(await call(path), { status: 400, reason: "invalid_request" });
    },
  );

  test("the longest one wins, after an exact path, and each has its own options", async () => {
    await route("/p/*", { methods: ["GET"] });
    await route("/p/q/*", { methods: ["PUT"] });
    await route("/p/q", { methods: ["DELETE"] });
    const allowed = async (path: string) => (await call(path)).headers.get("allow");
    expect(await Promise.all(["/p", "/p/x", "/p/q", "/p/q/", "/p/q/r/s"].map(allowed))).toEqual([
      "GET, HEAD",
      "GET, HEAD",
      "DELETE",
      "PUT",
      "PUT",
    ]);
    expectError(await admin("POST", "/v1/routes", { path: "/p/*", function_id: fn.id }), {
      status: 409,
      reason: "conflict",
    });
  });
});

describe("a route with a key", () => {
  test("POST /r/<path> needs one with the scope invoke, for this function or all", async () => {
    await route("/keyed", { auth: "key" });
    const send = (token: string) => call("/keyed", { headers: { Authorization: `Bearer ${token}` }, body: "[1]" });
    const missing = await call("/keyed", { body: "[1]" });
    expect(missing.headers.get("www-authenticate")).toBe('Bearer realm="slipway"');
    await refused(missing, {
      status: 401,
      reason: "unauthorized",
      message: 'An API key is needed: send it as "Authorization: Bearer <key>"',
    });
    await refused(await send("wrong"), { status: 401, reason: "unauthorized" });
    const elsewhere = await newKey({ name: "other", scopes: ["invoke"], function_id: other.id });
    await refused(await send(elsewhere.token), {
      status: 403,
      reason: "forbidden",
      message: `This key may only call the function "${other.id}": send a key for this function, or for all`,
    });
    const reader = await newKey({ name: "reader", scopes: ["read", "deploy"] });
    await refused(await send(reader.token), { status: 403, reason: "forbidden" });
    const revoked = await newKey({ name: "gone", scopes: ["invoke"] });
    await admin<Key>("DELETE", `/v1/keys/${revoked.id}`);
    await refused(await send(revoked.token), { status: 401, reason: "unauthorized" });
    expect(await recordsOf(fn.id)).toBe(0);

    const one = await newKey({ name: "one", scopes: ["invoke"], function_id: fn.id });
    const all = await newKey({ name: "all", scopes: ["invoke"] });
    for (const token of [one.token, all.token, ADMIN]) {
      const response = await send(token);
      expect([response.status, await response.text()]).toEqual([200, "[1]"]);
    }
    expect(await recordsOf(fn.id)).toBe(3);
  });

  test("POST /r/<path> needs one even on loopback, on a server without keys", async () => {
    await using open = await TestServer.start();
    const target = await open.createFunction(fn.image);
    const body = { path: "/keyed", function_id: target.id, auth: "key" };
    expectSuccess(await open.api("POST", "/v1/routes", body));
    const response = await fetch(`${open.url}/r/keyed`, { method: "POST" });
    await refused(response, { status: 401, reason: "unauthorized" });
  });
});

describe("CORS", () => {
  const cors = { origins: [PAGE], headers: ["content-type", "authorization"], exposed_headers: ["x-request-id"] };
  const asked = { "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type" };

  test("OPTIONS /r/<path> answers a preflight without a function", async () => {
    await route("/shared", {
      methods: ["GET", "PUT"],
      cors,
      auth: "key",
      rate_limit: { requests: 1, window_ms: 60_000 },
    });
    const before = await recordsOf(fn.id);
    for (let i = 0; i < 3; i++) {
      const response = await call("/shared", { method: "OPTIONS", headers: { Origin: PAGE, ...asked } });
      expect([response.status, await response.text()]).toEqual([204, ""]);
      expect(response.headers.toJSON()).toMatchObject({
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, PUT",
        "access-control-allow-headers": "content-type, authorization",
        "access-control-max-age": "600",
        allow: "GET, HEAD, OPTIONS, PUT",
        vary: "Origin",
        "content-security-policy": "sandbox",
      });
    }
    const stranger = await call("/shared", {
      method: "OPTIONS",
      headers: { Origin: "https://evil.example", ...asked },
    });
    expect([stranger.status, stranger.headers.get("vary")]).toEqual([204, "Origin"]);
    expect([...stranger.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    expect(await recordsOf(fn.id)).toBe(before);
  });

  test.each<[string, Partial<CreateRoute>, RequestInit, number]>([
    ["401", { auth: "key" }, {}, 401],
    ["405", {}, { method: "PUT" }, 405],
    ["413", { max_request_bytes: 1 }, { body: "{}" }, 413],
    ["502", {}, { body: '{"do": "exit", "code": 4}' }, 502],
    ["500 of the function", {}, { body: '{"do": "exit", "code": 3, "response": "[3]"}' }, 500],
    ["200", {}, { body: "[]" }, 200],
  ])("a page of an allowed origin may read a %s, and another may not", async (_name, options, init, status) => {
    await route("/read", { cors, ...options });
    const response = await call("/read", { ...init, headers: { Origin: PAGE } });
    expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([status, PAGE]);
    expect(response.headers.get("access-control-expose-headers")).toBe("x-request-id");
    expect(response.headers.get("vary")).toContain("Origin");
    const foreign = await call("/read", { ...init, headers: { Origin: "https://evil.example" } });
    expect([foreign.status, foreign.headers.get("access-control-allow-origin")]).toEqual([status, null]);
    expect(foreign.headers.get("vary")).toContain("Origin");
  });

  test("an error varies by both the origin and the media type", async () => {
    await route("/read", { cors });
    const response = await call("/read", {
      method: "GET",
      headers: { Origin: PAGE, Accept: "application/problem+json" },
    });
    expect([response.headers.get("content-type"), response.headers.get("vary")]).toEqual([
      "application/problem+json",
      "Accept, Origin",
    ]);
  });

  test("a route without it sends none of its headers", async () => {
    await route("/closed");
    const response = await call("/closed", { method: "GET", headers: { Origin: PAGE } });
    expect([response.headers.get("access-control-allow-origin"), response.headers.get("vary")]).toEqual([
      null,
      "Accept",
    ]);
  });
});

describe("a rate limit", () => {
  const rate_limit = { requests: 2, window_ms: 3_600_000 };
  const beyond = { status: 429, reason: "too_many_requests" };

  test("POST /r/<path> answers 429 beyond it, and no function is called", async () => {
    await route("/limited", { rate_limit });
    const before = await recordsOf(fn.id);
    const first = await call("/limited");
    const policy = '"default";q=2;w=3600';
    expect([first.status, toMinutes(first.headers.get("ratelimit")), first.headers.get("ratelimit-policy")]).toEqual([
      200,
      '"default";r=1;t=1800',
      policy,
    ]);
    const failed = await call("/limited", { body: '{"do": "exit", "code": 4}' });
    expect([failed.status, toMinutes(failed.headers.get("ratelimit"))]).toEqual([502, '"default";r=0;t=1800']);
    const third = await call("/limited", { body: "not even read" });
    expect([
      toMinutes(third.headers.get("retry-after")),
      toMinutes(third.headers.get("ratelimit")),
      third.headers.get("ratelimit-policy"),
    ]).toEqual(["1800", '"default";r=0;t=1800', policy]);
    await refused(third, {
      ...beyond,
      message: "Too many requests: this route accepts 2 in 3600 s from each address, try again in 1800 s",
    });
    // An address in a header does not make another client.
    await refused(
      await call("/limited", { headers: { "X-Forwarded-For": "192.0.2.1", Forwarded: "for=192.0.2.1" } }),
      beyond,
    );
    expect(await recordsOf(fn.id)).toBe(before + 2);
  });

  test("a change of it applies from the next request on", async () => {
    const { id } = await route("/limited", { rate_limit: { requests: 1, window_ms: 3_600_000 } });
    expect((await call("/limited")).status).toBe(200);
    await refused(await call("/limited"), beyond);
    expectSuccess(await admin("PATCH", `/v1/routes/${id}`, { rate_limit: { requests: 3, window_ms: 3_600_000 } }));
    const more = await call("/limited");
    expect([more.status, toMinutes(more.headers.get("ratelimit"))]).toEqual([200, '"default";r=1;t=1200']);
    expectSuccess(await admin("PATCH", `/v1/routes/${id}`, { rate_limit: null }));
    const free = await call("/limited");
    expect([free.status, free.headers.get("ratelimit")]).toEqual([200, null]);
  });

  test("counts by key if the route says so, and callers without one not at all", async () => {
    await route("/limited", { auth: "key", rate_limit: { requests: 1, window_ms: 3_600_000, by: "key" } });
    const [a, b] = [await newKey({ name: "a", scopes: ["invoke"] }), await newKey({ name: "b", scopes: ["invoke"] })];
    const send = ({ token }: NewKey) => call("/limited", { headers: { "X-API-Key": token } });
    expect([(await send(a)).status, (await send(b)).status]).toEqual([200, 200]);
    await refused(await send(a), {
      ...beyond,
      message: "Too many requests: this route accepts 1 in 3600 s from each key, try again in 3600 s",
    });
    const stranger = await call("/limited");
    expect([stranger.status, stranger.headers.get("ratelimit")]).toEqual([401, null]);
  });

  test("does not count wrong methods or calls of other routes", async () => {
    await route("/limited", { rate_limit: { requests: 1, window_ms: 3_600_000 } });
    for (let i = 0; i < 3; i++) expect((await call("/limited", { method: "GET" })).status).toBe(405);
    expect((await call("/limited")).status).toBe(200);
    await route("/limited/too", { rate_limit });
    expect(toMinutes((await call("/limited/too")).headers.get("ratelimit"))).toBe('"default";r=1;t=1800');
  });

  test("rejected requests are in the metrics", async () => {
    await route("/limited", { rate_limit: { requests: 1, window_ms: 3_600_000 } });
    const count = async () => {
      const text = await (await fetch(`${server.url}/metrics`, { headers: { "X-API-Key": ADMIN } })).text();
      return Number(/^slipway_rejections_total\{reason="too_many_requests"\} (\d+)/m.exec(text)?.[1] ?? 0);
    };
    const before = await count();
    for (let i = 0; i < 3; i++) await call("/limited");
    expect(await count()).toBe(before + 2);
  });
});

describe("a body limit", () => {
  test.each([
    [10, 10, 200],
    [10, 11, 413],
    [0, 0, 200],
    [0, 1, 413],
    [2048, 1024, 200],
    [2048, 1025, 413],
  ])("of %i bytes: POST /r/<path> with %i bytes answers %i", async (max_request_bytes, size, status) => {
    await route("/small", { max_request_bytes });
    const body = size < 2 ? "1".repeat(size) : `"${"x".repeat(size - 2)}"`;
    const response = await call("/small", { body });
    expect(response.status).toBe(status);
    if (status === 200) return;
    await refused(response, {
      status: 413,
      reason: "payload_too_large",
      message: `The request body is over the limit of ${Math.min(max_request_bytes, 1024)} bytes: send a smaller one`,
    });
  });

  test("applies to a body without a length", async () => {
    await route("/small", { max_request_bytes: 10 });
    const body = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 3; i++) controller.enqueue(new Uint8Array(5));
        controller.close();
      },
    });
    await refused(await call("/small", { body }), { status: 413, reason: "payload_too_large" });
  });
});
