import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { apiPaths } from "../support/api-paths.ts";
import { type RawReply, rawRequest } from "../support/raw-request.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const HOST = "app.example.com";
/** A host whose route takes only a method that the tests do not send: what it answers costs no container. */
const CLOSED = "shut.example.com";

let server: TestServer;
let fn: Function;
let app: Route;

beforeAll(async () => {
  server = await TestServer.start({ PUBLIC_PORT: "0", ALLOWED_HOSTS: "api.example.com" });
  // Answers with what it finds.
  fn = await server.createFunction(await fixture("shell"), {
    entrypoint: ["sh", "-c"],
    command: [
      "cp $CONTEXT_PATH/request.meta.json $CONTEXT_PATH/response.body; " +
        `echo '{"headers": {"content-type": "text/html", "content-security-policy": "default-src *"}}' > $CONTEXT_PATH/response.meta.json`,
    ],
    isolation: "process",
  });
  await route({ hosts: [CLOSED], methods: ["PATCH"] });
  app = await route({ hosts: [HOST, "www.example.com"], methods: ["GET", "POST", "DELETE", "OPTIONS"] });
});

afterAll(() => server[Symbol.asyncDispose]());

async function route(options: object): Promise<Route> {
  return expectSuccess(await server.api<Route>("POST", "/v1/routes", { function_id: fn.id, ...options }));
}

function at(host: string, target: string, method = "GET", url = server.url): Promise<RawReply> {
  return rawRequest(url, `${method} ${target} HTTP/1.1`, { headers: [`Host: ${host}`] });
}

function isClosed({ status, headers }: RawReply): boolean {
  return status === 405 && headers.get("allow") === "PATCH";
}

/** Returns what the function has seen of a request; fails for any answer but the function's. */
function seen({ status, text }: RawReply): { path: string; path_rest: string; route: string; url: string } {
  expect([status, text]).toEqual([200, expect.stringContaining('"path_rest"')]);
  return JSON.parse(text) as ReturnType<typeof seen>; // the fields of request.meta.json
}

describe("a host of a route", () => {
  test("has the function at /, with an origin of its own", async () => {
    const reply = await at(HOST, "/a%20b/c?x=1&y");
    const meta = { path: "/a b/c", path_rest: "a b/c", route: `${HOST}/*`, url: "/a%20b/c?x=1&y" };
    expect(seen(reply)).toMatchObject(meta);
    expect(reply.headers.get("content-security-policy")).toBe("default-src *");
    expect(reply.headers.get("x-content-type-options")).toBeNull();
    expect(reply.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(seen(await at("www.example.com", "/"))).toMatchObject({
      path: "/",
      path_rest: "",
      route: "www.example.com/*",
      url: "/",
    });
    expect((await server.invocation(reply.headers.get("x-request-id") ?? "")).route_id).toBe(app.id);
  });

  test("has all paths of the API and of the public listener, whatever the method is", async () => {
    const paths = [...(await apiPaths(server.url, fn.id)), "/", "/ui"];
    expect(paths).toEqual(expect.arrayContaining(["/healthz", "/readyz", "/metrics", "/v1/functions"]));
    for (const path of paths) {
      for (const url of [server.url, server.publicUrl]) expect(isClosed(await at(CLOSED, path, "GET", url))).toBe(true);
      expect(isClosed(await at(CLOSED, path, "DELETE"))).toBe(true);
    }
    expect(await server.api("GET", `/v1/functions/${fn.id}`)).toMatchObject({ status: 200 });
  });

  test("is one in each spelling of Host, and no other is", async () => {
    const spelling = fc.tuple(
      fc.array(fc.boolean(), { minLength: CLOSED.length, maxLength: CLOSED.length }),
      fc.constantFrom("", "."),
      fc.constantFrom("", ":", ":80", ":9999"),
    );
    await fc.assert(
      fc.asyncProperty(spelling, async ([upper, dot, port]) => {
        const spelled = Array.from(CLOSED, (char, at) => (upper[at] === true ? char.toUpperCase() : char)).join("");
        expect(isClosed(await at(spelled + dot + port, "/v1/functions"))).toBe(true);
      }),
    );
    const others = [
      "localhost",
      "example.com",
      `x.${CLOSED}`,
      `${CLOSED}.evil.example`,
      `${CLOSED}..`,
      "shut-example-com",
    ];
    for (const host of others) expect([host, isClosed(await at(host, "/healthz"))]).toEqual([host, false]);
  });

  test.each([
    "/a/../v1/functions",
    "/..\\v1/functions",
    "/%2e%2e/v1/functions",
    "/a/%2e./v1/functions",
    "/a%2f..%2fv1",
    "/%",
  ])("refuses %s, which not every program reads alike", async (target) => {
    const { status, headers, text } = await at(HOST, target);
    expectError({ status, headers, body: JSON.parse(text) }, { status: 400, reason: "invalid_request" });
  });

  test("decides by the Host and not by the target", async () => {
    expect(isClosed(await at(CLOSED, "http://localhost/v1/functions"))).toBe(true);
    expect(isClosed(await at("localhost", `http://${CLOSED}/v1/routes/${app.id}`))).toBe(false);
    const headers = ["Host: localhost", `Host: ${CLOSED}`];
    const two = await rawRequest(server.url, "GET /v1/functions HTTP/1.1", { headers });
    expect([400, 421]).toContain(two.status);
  });

  test("answers other methods, errors and preflights as a route does, but without a sandbox", async () => {
    const wrong = await at(HOST, "/", "PUT");
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "DELETE, GET, HEAD, OPTIONS, POST"]);
    expect(wrong.headers.get("content-security-policy")).toBeNull();
    const head = await at(HOST, "/", "HEAD");
    expect([head.status, head.text]).toEqual([200, ""]);
    const cors = { origins: ["https://page.example"], headers: ["content-type"] };
    const keyed = await route({ hosts: ["keyed.example.com"], auth: "key", cors });
    const refused = await at("keyed.example.com", "/", "POST");
    expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm="slipway"']);
    const preflight = await rawRequest(server.url, "OPTIONS / HTTP/1.1", {
      headers: ["Host: keyed.example.com", "Origin: https://page.example"],
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([
      204,
      "https://page.example",
    ]);
    expectSuccess(await server.api("DELETE", `/v1/routes/${keyed.id}`));
    expect((await at("keyed.example.com", "/", "POST")).text).not.toContain("path_rest");
  });
});

describe("the hosts of a route", () => {
  test("take the place of its path, and are another's only when they are free", async () => {
    const taken = await server.api("POST", "/v1/routes", { function_id: fn.id, hosts: ["new.example.com", HOST] });
    expectError(taken, {
      status: 409,
      reason: "conflict",
      message: `A route with the host "${HOST}" exists already: choose another host, or PATCH that one`,
    });
    const moved = await route({ path: "/moved" });
    expect(moved).toMatchObject({ path: "/moved", hosts: [], methods: ["POST"] });
    const patch = async (body: object) =>
      expectSuccess(await server.api<Route>("PATCH", `/v1/routes/${moved.id}`, body));
    expect(await patch({ hosts: ["new.example.com"] })).toMatchObject({ path: null, hosts: ["new.example.com"] });
    expect((await fetch(`${server.url}/r/moved`, { method: "POST" })).status).toBe(404);
    seen(await at("new.example.com", "/", "POST"));
    expect(await patch({ path: "/moved" })).toMatchObject({ path: "/moved", hosts: [] });
    expect((await at("new.example.com", "/", "POST")).text).not.toContain("path_rest");
    expect((await fetch(`${server.url}/r/moved`, { method: "POST" })).status).toBe(200);
    expectSuccess(await server.api("DELETE", `/v1/routes/${moved.id}`));
  });

  test.each<[body: object, message: string]>([
    [{ hosts: ["App.example.com"] }, 'Invalid "hosts/0" "App.example.com": write it as "app.example.com"'],
    [{ hosts: ["*.example.com"] }, 'Invalid "hosts/0" "*.example.com": there are no wildcards: name each host'],
    [
      { hosts: ["api.example.com"] },
      'Invalid "hosts/0" "api.example.com": the API of this server is reached by that name: give another one',
    ],
    [{ hosts: ["127.0.0.1"] }, 'Invalid "hosts/0" "127.0.0.1": it is an address: give a name'],
    [
      { hosts: ["a.example"], path: "/a" },
      'A route is at a "path" below /r, or at "hosts" of its own: give one of the two',
    ],
    [{ hosts: [] }, 'Missing "path": it must be a string; or give "hosts" in its place'],
    [
      { hosts: "a.example" },
      'Invalid "hosts": it must be a list of at most 16 different strings, but it is "a.example"',
    ],
  ])("are refused where they could not work: %j", async (body, message) => {
    const reply = await server.api("POST", "/v1/routes", { function_id: fn.id, ...body });
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });

  test("are never the one by which the request for them has come", async () => {
    const { body } = await server.api<{ token: string }>("POST", "/v1/keys", { name: "d", scopes: ["deploy"] });
    const text = JSON.stringify({ function_id: fn.id, hosts: ["slipway.example.com"] });
    const { status, text: answer } = await rawRequest(server.url, "POST /v1/routes HTTP/1.1", {
      headers: ["Host: Slipway.example.com:443", `Authorization: Bearer ${body.data.token}`],
      body: text,
    });
    expect([status, answer]).toEqual([400, expect.stringContaining("the API of this server is reached by that name")]);
  });

  test("are in manifests", async () => {
    const asked = await fetch(`${server.url}/v1/export`, { headers: { Accept: "application/json" } });
    const { data } = (await asked.json()) as { data: { routes: Record<string, object> } }; // a manifest
    const exported = data.routes[HOST] ?? {};
    expect(exported).toMatchObject({ hosts: [HOST, "www.example.com"] });
    const apply = (name: string, entry: object) =>
      server.api("POST", "/v1/apply", { manifest: { version: 1, routes: { [name]: entry } } });
    const unchanged = { changes: [{ action: "unchanged", name: HOST }] };
    expect(expectSuccess(await apply(HOST, exported))).toMatchObject(unchanged);
    const less = { changes: [{ action: "updated", name: HOST, fields: { hosts: { to: [HOST] } } }] };
    expect(expectSuccess(await apply(HOST, { ...exported, hosts: [HOST] }))).toMatchObject(less);
    expect((await apply("/app", exported)).body.message).toContain("give one of the two");
    expect((await apply("www.example.com", exported)).body.message).toContain(`write its name as "${HOST}"`);
  });
});
