import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { rawRequest } from "../../http/support/raw-request.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";

const KEY = "a-key-that-is-long-enough-for-this-test";
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Answers with its view of the request, with its body, and with a header that a HEAD shows too. */
const TELL = [
  "cd $CONTEXT_PATH",
  "body=$(cat request.json)",
  `method=$(sed -n 's/.*"method":"\\([A-Z]*\\)".*/\\1/p' request.meta.json)`,
  `printf '{"meta": %s, "body": %s}' "$(cat request.meta.json)" "$body" > response.json`,
  `printf '{"headers": {"X-Method": "%s", "Access-Control-Allow-Origin": "*"}}' "$method" > response.meta.json`,
].join("; ");

interface Told {
  readonly meta: Record<string, unknown> & { readonly headers: Record<string, string> };
  readonly body: unknown;
}

let server: TestServer;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start({ API_KEY: KEY });
  const settings = { entrypoint: ["/bin/sh", "-c"], command: [TELL], max_calls: 0, timeout_ms: 20_000 };
  const body = { image: await fixture("shell"), ...settings };
  fn = expectSuccess(await server.api<Function>("POST", "/v1/functions", body, admin), 201);
  await route("/all/*", { methods: METHODS });
  await route("/all/exact", { methods: ["GET"] });
  await route("/keyed/*", { auth: "key" });
  await route("/shared/*", { methods: ["GET"], cors: { origins: ["https://page.example"] } });
});

afterAll(() => server[Symbol.asyncDispose]());

const admin = { Authorization: `Bearer ${KEY}` };

async function route(path: string, options: object): Promise<void> {
  const body = { path, function_id: fn.id, ...options };
  expectSuccess(await server.api<Route>("POST", "/v1/routes", body, admin));
}

async function told(response: Response): Promise<Told> {
  expect(response.status).toBe(200);
  return (await response.json()) as Told; // what TELL writes
}

function send(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/r${path}`, init);
}

describe("a prefix route with all methods", () => {
  test.each(METHODS)("%s calls the function, which gets the path and its rest", async (method) => {
    const response = await send("/all/b/%C3%A9%20x?y=1", { method });
    expect([response.status, response.headers.get("x-method")]).toEqual([200, method]);
    if (method === "HEAD") return expect(await response.text()).toBe("");
    const { meta, body } = await told(response);
    expect(meta).toMatchObject({
      method,
      path: "/all/b/é x",
      path_rest: "b/é x",
      route: "/all/*",
      query: { y: ["1"] },
    });
    expect(body).toEqual({});
  });

  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("%s passes its body on", async (method) => {
    expect((await told(await send("/all/b", { method, body: "[1]" }))).body).toEqual([1]);
  });

  test.each([
    ["/all", "/all", ""],
    ["/all/", "/all/", ""],
    ["/all//b/", "/all//b/", "/b/"],
    ["/all/a%2Fb", "/all/a/b", "a/b"],
    ["/all/exact/", "/all/exact/", "exact/"],
  ])("GET /r%s has the right rest", async (asked, path, path_rest) => {
    expect((await told(await send(asked))).meta).toMatchObject({ path, path_rest, route: "/all/*" });
  });

  test("an exact path takes precedence, and has no rest", async () => {
    expect((await told(await send("/all/exact"))).meta).toMatchObject({ path_rest: null, route: "/all/exact" });
    expect((await send("/all/exact", { method: "POST" })).status).toBe(405);
  });

  test("its function answers OPTIONS itself, with its own CORS headers", async () => {
    const headers = { Origin: "https://any.example", "Access-Control-Request-Method": "GET" };
    const response = await send("/all/x", { method: "OPTIONS", headers });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect((await told(response)).meta.headers).toMatchObject({ origin: "https://any.example" });
  });
});

test("a key for the route never reaches the function, but on a public route it does", async () => {
  for (const headers of [admin, { "X-API-Key": KEY }, { ...admin, "X-API-Key": "another" }]) {
    const response = await send("/keyed/x", { method: "POST", headers: { ...headers, Cookie: "a=b" } });
    const { meta } = await told(response);
    expect(meta.headers).toMatchObject({ cookie: "a=b" });
    expect(JSON.stringify(meta)).not.toMatch(/authorization|api-key|another/i);
  }
  const headers = { Authorization: "Basic dTpw", "X-API-Key": "its-own" };
  const { meta } = await told(await send("/all/x", { headers }));
  expect(meta.headers).toMatchObject({ authorization: "Basic dTpw", "x-api-key": "its-own" });
});

test("on a route with CORS the route decides, not the function", async () => {
  const allowed = async (origin: string) => {
    const response = await send("/shared/x", { headers: { Origin: origin } });
    await told(response);
    return response.headers.get("access-control-allow-origin");
  };
  expect(await allowed("https://page.example")).toBe("https://page.example");
  expect(await allowed("https://evil.example")).toBeNull();
});

test("the body of a GET is dropped", async () => {
  const { status, text } = await rawRequest(server.url, "GET /r/all/x HTTP/1.1", { body: "[7]" });
  expect([status, text]).toEqual([200, expect.stringContaining('"body": {}')]);
});
