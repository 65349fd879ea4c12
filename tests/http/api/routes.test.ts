import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ROUTE_DEFAULTS } from "../../../lib/domain/routes/options.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const NOWHERE = "00000000-0000-4000-8000-000000000000";

let server: TestServer;
let fn: Function;
let other: Function;

beforeAll(async () => {
  server = await TestServer.start();
  const image = await fixture("static");
  fn = await server.createFunction(image, { name: "target" });
  other = await server.createFunction(image, { name: "other" });
});

afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  for (const { id } of await list()) await server.api("DELETE", `/v1/routes/${id}`);
});

async function list(): Promise<Route[]> {
  return expectSuccess(await server.api<Route[]>("GET", "/v1/routes"));
}

describe("GET /v1/routes", () => {
  test("GET /v1/routes answers [] when there are none", async () => {
    const response = await fetch(`${server.url}/v1/routes`);
    expect(await response.text()).toBe('{"success":true,"message":"success","data":[]}');
  });

  test("GET /v1/routes lists them, oldest first, with their functions", async () => {
    const created = [await server.createRoute("/b", fn.id), await server.createRoute("/a", other.id)];
    expect(await list()).toEqual(created);
  });
});

describe("POST /v1/routes", () => {
  test("POST /v1/routes answers 200 with the route and its function", async () => {
    const reply = await server.api<Route>("POST", "/v1/routes", { path: "/hello", function_id: fn.id });
    const created = expectSuccess(reply, 200);
    expect(created).toEqual({ id: expect.any(String), path: "/hello", function: fn, ...ROUTE_DEFAULTS });
    expect(Object.keys(created).slice(0, 3)).toEqual(["id", "path", "function"]);
  });

  test("POST /v1/routes accepts the name of a function as its id", async () => {
    expect((await server.createRoute("/by-name", "target")).function).toEqual(fn);
  });

  test.each([
    "/",
    "/a",
    "/a/",
    "/a/b/c",
    "/a b",
    "/é/ü",
    "/a;b",
    "/:id",
    "/a..b",
    "/+",
    "/a@b:c,d=e&f",
    "/\u{1f6a2}",
    "/*",
    "/a/*",
  ])("POST /v1/routes accepts the path %j", async (path) => {
    expect((await server.createRoute(path, fn.id)).path).toBe(path);
  });

  test("POST /v1/routes answers 409 when the path is taken", async () => {
    await server.createRoute("/taken", fn.id);
    expectError(await server.api("POST", "/v1/routes", { path: "/taken", function_id: other.id }), {
      status: 409,
      reason: "conflict",
      message: 'A route with the path "/taken" exists already: choose another path, or PATCH that one',
    });
  });

  test("POST /v1/routes creates one of a hundred concurrent routes with the same path", async () => {
    const body = { path: "/contested", function_id: fn.id };
    const replies = await Promise.all(Array.from({ length: 100 }, () => server.api("POST", "/v1/routes", body)));
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(replies.filter(({ status }) => status === 409)).toHaveLength(99);
    expect(await list()).toHaveLength(1);
  });

  test.each([NOWHERE, "unknown", ""])("POST /v1/routes answers 404 for the unknown function %j", async (id) => {
    expectError(await server.api("POST", "/v1/routes", { path: "/x", function_id: id }), {
      status: 404,
      reason: "not_found",
      message: `No function ${JSON.stringify(id)}: GET /v1/functions lists them`,
    });
  });

  test.each([
    ["", 'it must begin with "/": did you mean "/"?'],
    ["hello", 'it must begin with "/": did you mean "/hello"?'],
    ["//", 'it contains "//"'],
    ["/a//b", 'it contains "//"'],
    ["/a?b", 'it contains "?"'],
    ["/a#b", 'it contains "#"'],
    ["/a\\b", 'it contains "\\"'],
    ["/a*", 'it contains "*" before its last segment: a prefix ends like "/files/*"'],
    ["/a%20b", 'it contains "%": give the path decoded'],
    ["/a/../b", 'it contains a "." or ".." segment'],
    ["/.", 'it contains a "." or ".." segment'],
    ["/a\0b", "it contains a control character"],
    ["/\ud800", "it contains half of a surrogate pair"],
    [`/${"ü".repeat(512)}`, "it is longer than 1024 bytes"],
  ])("POST /v1/routes answers 400 to the path %j: %s", async (path, problem) => {
    const reply = await server.api("POST", "/v1/routes", { path, function_id: fn.id });
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith('Invalid "path" ');
    expect(reply.body.message).toEndWith(`: ${problem}`);
  });

  test.each([
    [{}, 'Missing "function_id": it must be a string'],
    [{ function_id: "x" }, 'Missing "path": it must be a string; or give "hosts" in its place'],
    [{ path: "/x" }, 'Missing "function_id": it must be a string'],
    [{ path: 5, function_id: "x" }, 'Invalid "path": it must be a string, but it is 5'],
    [{ path: "/x", function_id: null }, 'Invalid "function_id": it must be a string, but it is null'],
    [{ path: "/x", function: "x" }, 'Unknown field "function": did you mean "function_id"?'],
    [
      { route: "/x", function_id: "x" },
      'Unknown field "route": expected "path", "function_id", "methods", "auth", "cors", "rate_limit", "max_request_bytes", "async", "version", "split", "event" or "hosts"',
    ],
  ])("POST /v1/routes answers 400 to %j", async (body, message) => {
    expectError(await server.api("POST", "/v1/routes", body), { status: 400, reason: "invalid_request", message });
  });
});

describe("the options of a route", () => {
  const create = (options: object) =>
    server.api<Route>("POST", "/v1/routes", { path: "/o", function_id: fn.id, ...options });
  const CORS = { origins: ["https://a.example"], headers: ["content-type"], exposed_headers: [], credentials: false };

  test("POST /v1/routes stores what was given, with defaults for the rest", async () => {
    const given = {
      methods: ["GET", "PUT"],
      auth: "key",
      max_request_bytes: 10,
      event: "raw",
      cors: {
        origins: ["https://a.example"],
        max_age_s: 0,
      },
      rate_limit: {
        requests: 5,
        window_ms: 1e3,
      },
    };
    const created = expectSuccess(await create(given));
    expect(created).toMatchObject({
      methods: ["GET", "PUT"],
      auth: "key",
      max_request_bytes: 10,
      event: "raw",
      cors: {
        ...CORS,
        max_age_s: 0,
      },
      rate_limit: {
        requests: 5,
        window_ms: 1e3,
        by: "address",
      },
    });
    expect(expectSuccess(await server.api("GET", `/v1/routes/${created.id}`))).toEqual(created);
  });

  test("PATCH /v1/routes/:id replaces each option that it names, and null removes it", async () => {
    const { id } = expectSuccess(await create({ auth: "key", cors: { origins: ["https://a.example"], max_age_s: 5 } }));
    const patch = async (body: object) => expectSuccess(await server.api<Route>("PATCH", `/v1/routes/${id}`, body));
    expect(await patch({ rate_limit: { requests: 1, window_ms: 1_000, by: "key" } })).toMatchObject({
      auth: "key",
      cors: {
        ...CORS,
        max_age_s: 5,
      },
      rate_limit: { by: "key" },
    });
    expect((await patch({ cors: { origins: ["*"] } })).cors).toEqual({ ...CORS, origins: ["*"], max_age_s: 600 });
    expect(await patch({ cors: null, rate_limit: null })).toMatchObject({ auth: "key", cors: null, rate_limit: null });
  });

  test("PATCH /v1/routes/:id answers 400 if the change is in conflict with the rest", async () => {
    const rate_limit = { requests: 1, window_ms: 1_000, by: "key" };
    const { id } = expectSuccess(await create({ auth: "key", rate_limit }));
    expectError(await server.api("PATCH", `/v1/routes/${id}`, { auth: "public" }), {
      status: 400,
      reason: "invalid_request",
      message:
        'Invalid "rate_limit/by" "key": a public route checks no keys: set "auth" to "key" too, or limit by "address"',
    });
    expect(expectSuccess(await server.api("GET", `/v1/routes/${id}`))).toMatchObject({ auth: "key", rate_limit });
  });

  test.each([
    [{ methods: [] }, 'Invalid "methods": it must be a list of 1 to 7 different items, each '],
    [{ methods: ["get"] }, 'Invalid "methods/0": it must be "GET", "HEAD", "POST", '],
    [{ methods: ["GET", "GET"] }, 'Invalid "methods": it must be a list of 1 to 7 different items, each '],
    [{ methods: null }, 'Invalid "methods": it must be a list of 1 to 7 different items, each '],
    [{ auth: "basic" }, 'Invalid "auth": it must be "public" or "key", but it is "basic"'],
    [{ cors: {} }, 'Missing "cors/origins": it must be a list of 1 to 64 different strings'],
    [
      { cors: { origins: [] } },
      'Invalid "cors/origins": it must be a list of 1 to 64 different strings, but it has 0 items',
    ],
    [{ cors: { origins: ["*"], origin: 1 } }, 'Unknown field "cors/origin": did you mean "origins"?'],
    [{ cors: { origins: ["a.example"] } }, 'Invalid "cors/origins/0" "a.example": give scheme, host and port such as '],
    [{ cors: { origins: ["*"], credentials: true } }, 'Invalid "cors/credentials" true: browsers refuse it with "*"'],
    [{ cors: { origins: ["*"], headers: ["a b"] } }, 'Invalid "cors/headers/0": it must be a string of at most 256 '],
    [
      { cors: { origins: ["*"], max_age_s: 86_401 } },
      'Invalid "cors/max_age_s": it must be a whole number from 0 to 86400',
    ],
    [
      { rate_limit: { requests: 0, window_ms: 1_000 } },
      'Invalid "rate_limit/requests": it must be a whole number from 1 to',
    ],
    [
      { rate_limit: { requests: 1, window_ms: 999 } },
      'Invalid "rate_limit/window_ms": it must be a whole number from 1000',
    ],
    [{ rate_limit: { requests: 1 } }, 'Missing "rate_limit/window_ms": it must be a whole number'],
    [
      { rate_limit: { requests: 1, window_ms: 1_000, by: "key" } },
      'Invalid "rate_limit/by" "key": a public route checks no keys',
    ],
    [{ event: "alb" }, 'Invalid "event": it must be "http" or "raw", but it is "alb"'],
    [{ max_request_bytes: -1 }, 'Invalid "max_request_bytes": it must be a whole number from 0 to 1073741824 or null'],
  ])("POST /v1/routes answers 400 to %j", async (options, message) => {
    const reply = await create(options);
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith(message);
    expect(await list()).toEqual([]);
  });
});

describe("GET /v1/routes/:id", () => {
  test("GET /v1/routes/:id answers with the route", async () => {
    const created = await server.createRoute("/one", fn.id);
    expect(expectSuccess(await server.api("GET", `/v1/routes/${created.id}`))).toEqual(created);
  });

  test.each([NOWHERE, "unknown", "%2fone"])("GET /v1/routes/%s answers 404", async (id) => {
    await server.createRoute("/one", fn.id);
    expectError(await server.api("GET", `/v1/routes/${id}`), { status: 404, reason: "not_found" });
  });
});

describe("PATCH /v1/routes/:id", () => {
  test("PATCH /v1/routes/:id changes the path and keeps the function", async () => {
    const { id } = await server.createRoute("/before", fn.id);
    const changed = expectSuccess(await server.api<Route>("PATCH", `/v1/routes/${id}`, { path: "/after" }));
    expect(changed).toEqual({ id, path: "/after", function: fn, ...ROUTE_DEFAULTS });
    expect(await list()).toEqual([changed]);
  });

  test("PATCH /v1/routes/:id changes the function, by its name, and keeps the path", async () => {
    const { id } = await server.createRoute("/stays", fn.id);
    const changed = expectSuccess(await server.api("PATCH", `/v1/routes/${id}`, { function_id: "other" }));
    expect(changed).toEqual({ id, path: "/stays", function: other, ...ROUTE_DEFAULTS });
  });

  test("PATCH /v1/routes/:id changes nothing for {}", async () => {
    const created = await server.createRoute("/same", fn.id);
    expect(expectSuccess(await server.api("PATCH", `/v1/routes/${created.id}`, {}))).toEqual(created);
  });

  test("PATCH /v1/routes/:id answers 409 when the path is another's", async () => {
    await server.createRoute("/one", fn.id);
    const { id } = await server.createRoute("/two", fn.id);
    const reply = await server.api("PATCH", `/v1/routes/${id}`, { path: "/one" });
    expectError(reply, { status: 409, reason: "conflict" });
  });

  test.each([
    [{ path: "no" }, 400, 'Invalid "path" "no": it must begin with "/": did you mean "/no"?'],
    [{ path: null }, 400, 'Invalid "path": it must be a string, but it is null'],
    [{ pth: "/x" }, 400, 'Unknown field "pth": did you mean "path"?'],
    [{ function_id: "unknown" }, 404, 'No function "unknown": GET /v1/functions lists them'],
  ])("PATCH /v1/routes/:id answers to %j with %d", async (body, status, message) => {
    const { id } = await server.createRoute("/one", fn.id);
    const reason = status === 400 ? "invalid_request" : "not_found";
    expectError(await server.api("PATCH", `/v1/routes/${id}`, body), { status, reason, message });
  });

  test("PATCH /v1/routes/:id answers 404 for an unknown route", async () => {
    expectError(await server.api("PATCH", `/v1/routes/${NOWHERE}`, {}), { status: 404, reason: "not_found" });
  });
});

describe("DELETE /v1/routes/:id", () => {
  test("DELETE /v1/routes/:id returns what it deleted, once, and keeps the function", async () => {
    const created = await server.createRoute("/gone", fn.id);
    expect(expectSuccess(await server.api("DELETE", `/v1/routes/${created.id}`))).toEqual(created);
    expectError(await server.api("DELETE", `/v1/routes/${created.id}`), { status: 404, reason: "not_found" });
    expect(expectSuccess(await server.api("GET", "/v1/functions/target"))).toMatchObject(fn);
  });
});
