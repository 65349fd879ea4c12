import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig, thisMachine } from "../../lib/config/config.ts";
import { messageOf } from "../../lib/domain/errors.ts";
import type { Function } from "../../lib/domain/functions/functions.ts";
import { createLogger } from "../../lib/log.ts";
import { start } from "../../lib/server/server.ts";
import { apiPaths } from "../http/support/api-paths.ts";
import { rawRequest } from "../http/support/raw-request.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { fixture } from "../support/images.ts";
import { eventually } from "../support/pace.ts";
import { TestServer } from "../support/server.ts";

let server: TestServer;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start({ PUBLIC_PORT: "0", MAX_REQUEST_BYTES: "1KiB" });
  fn = await server.createFunction(await fixture("static"));
  await server.createRoute("/open", fn.id);
});

afterAll(() => server[Symbol.asyncDispose]());

async function ask(path: string, init: RequestInit = {}) {
  const response = await fetch(server.publicUrl + path, init);
  const text = await response.text();
  return { status: response.status, headers: response.headers, text };
}

describe("the public listener", () => {
  test("is off unless it has a port", async () => {
    await using other = await TestServer.start();
    expect(other.publicUrl).toBe("");
  });

  test("calls functions by their routes", async () => {
    const echo = await ask("/r/open", { method: "POST", body: "[1]", headers: { "X-Forwarded-For": "203.0.113.9" } });
    expect([echo.status, echo.text]).toEqual([200, "[1]"]);
    expect(echo.headers.get("content-security-policy")).toBe("sandbox");
    const invocation = await server.invocation(echo.headers.get("x-request-id") ?? "");
    expect(invocation.status).toBe("succeeded");
  });

  test("has no other path, whatever key and Host are sent", async () => {
    const known = await apiPaths(server.url, fn.id);
    expect(known.length).toBeGreaterThan(40);
    const open = ["/r/{path}", "/healthz", "/readyz"];
    expect(known).toEqual(expect.arrayContaining(open));
    const { body } = await server.api<{ token: string }>("POST", "/v1/keys", { name: "all", scopes: ["admin"] });
    for (const path of known.filter((one) => !open.includes(one))) {
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
        const headers = { Host: "localhost", Authorization: `Bearer ${body.data.token}` };
        const { status, text } = await ask(path, { method, headers });
        expect([method, path, status]).toEqual([method, path, 404]);
        expect(JSON.parse(text)).toMatchObject({
          reason: "not_found",
          message: "No such path: functions are called below /r",
        });
      }
    }
  });

  test.each(["/r/..\\v1/functions", "/r/../v1/functions", "/r/%2e%2e/metrics"])(
    "refuses %s as the other does",
    async (path) => {
      expect((await rawRequest(server.publicUrl, `GET ${path} HTTP/1.1`)).status).toBe(400);
    },
  );

  test("answers a Host that has nothing to do with it, and pages of other sites", async () => {
    const headers = { Host: "functions.example", Origin: "https://page.example", "Sec-Fetch-Site": "cross-site" };
    expect((await ask("/r/open", { method: "POST", body: "{}", headers })).status).toBe(200);
    expect((await ask("/healthz", { headers })).status).toBe(200);
  });

  test("checks the keys of routes, limits bodies, and answers a wrong method, as the other does", async () => {
    await server.api("POST", "/v1/routes", { path: "/keyed", function_id: fn.id, auth: "key" });
    const { body } = await server.api<{ token: string }>("POST", "/v1/keys", { name: "caller", scopes: ["invoke"] });
    const keyed = (headers: Record<string, string>) => ask("/r/keyed", { method: "POST", body: "{}", headers });
    expect((await keyed({})).status).toBe(401);
    expect((await keyed({ Authorization: "Bearer wrong" })).status).toBe(401);
    expect((await keyed({ Authorization: `Bearer ${body.data.token}` })).status).toBe(200);
    expect((await ask("/r/open", { method: "POST", body: "x".repeat(1025) })).status).toBe(413);
    const wrong = await ask("/r/open", { method: "PUT", body: "{}" });
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
    const health = await ask("/healthz", { method: "POST" });
    expect([health.status, health.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect(JSON.parse(health.text)).toMatchObject({ request_id: health.headers.get("x-request-id") });
  });

  test("counts the callers of a route together with the other", async () => {
    const rate_limit = { requests: 2, window_ms: 3_600_000, by: "address" };
    await server.api("POST", "/v1/routes", { path: "/limited", function_id: fn.id, methods: ["POST"], rate_limit });
    const statuses: number[] = [];
    for (const url of [server.url, server.publicUrl, server.url, server.publicUrl]) {
      statuses.push((await fetch(`${url}/r/limited`, { method: "POST", body: "{}" })).status);
    }
    expect(statuses).toEqual([200, 200, 429, 429]);
  });

  test("kills the function of a caller that goes away", async () => {
    const leave = new AbortController();
    const init = { method: "POST", body: '{"do": "sleep"}', signal: leave.signal };
    const call = fetch(`${server.publicUrl}/r/open`, init).catch((error: unknown) => error);
    const sleeping = async (status: string) => {
      const { body } = await server.api<{ invocations: { status: string; request_bytes: number }[] }>(
        "GET",
        "/v1/invocations",
      );
      return body.data.invocations[0]?.status === status;
    };
    expect(await eventually(() => sleeping("running"))).toBe(true);
    leave.abort();
    await call;
    expect(await eventually(() => sleeping("cancelled"))).toBe(true);
  });
});

describe("the public listener of a server that stops", () => {
  test("closes its port at once, and answers the calls that were accepted", async () => {
    await using stopping = await TestServer.start({ PUBLIC_PORT: "0" });
    const slow = await stopping.createFunction(await fixture("static"));
    await stopping.createRoute("/slow", slow.id);
    const call = fetch(`${stopping.publicUrl}/r/slow`, { method: "POST", body: '{"do": "sleep", "ms": 1500}' });
    const running = async () =>
      (await stopping.api<{ invocations: unknown[] }>("GET", "/v1/invocations")).body.data.invocations.length === 1;
    expect(await eventually(running)).toBe(true);
    const { publicUrl } = stopping;
    const stopped = stopping.stop(60_000);
    expect(await fetch(`${publicUrl}/healthz`).catch((error: unknown) => error)).toBeInstanceOf(Error);
    expect((await call).status).toBe(200);
    await stopped;
  });
});

/** Starts a server whose engine is away. */
async function withoutEngine(variables: Record<string, string>) {
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  const fixed = { PORT: "0", DATA_PATH: directory, DOCKER_HOST: `unix://${join(directory, "none.sock")}` };
  const clock = new FakeClock();
  const log = createLogger({ level: "error", format: "json", clock, write: () => undefined });
  const begin = (more: Record<string, string> = {}) =>
    start(readConfig({}, { ...fixed, ...variables, ...more }, thisMachine()), { log, clock });
  return { begin, directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

describe("/readyz of the public listener", () => {
  test("tells that something is wrong, but not what", async () => {
    await using world = await withoutEngine({ PUBLIC_PORT: "0" });
    const server = await world.begin();
    const own = await fetch(`${server.url}/readyz`);
    expect([own.status, await own.text()]).toEqual([503, expect.stringContaining("socket")]);
    const forAll = await fetch(`${server.public_url}/readyz`);
    expect(forAll.status).toBe(503);
    const problem = "See /readyz of the server's own port.";
    expect(await forAll.json()).toEqual({
      ready: false,
      engine: { ok: false, problem },
      database: { ok: true, problem: null },
    });
    await server.stop(0);
  });
});

describe("PUBLIC_PORT", () => {
  test("that is taken is refused, and the other port and the database are released", async () => {
    await using world = await withoutEngine({});
    using other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
    const { port } = other;
    const message = await world.begin({ PUBLIC_PORT: String(port) }).then(String, messageOf);
    expect(message).toStartWith(`Cannot listen on 127.0.0.1:${port}: `);
    expect(message).toEndWith("choose another with --public-port or PUBLIC_PORT.");
    await (await world.begin()).stop(0);
  });

  test("may be on another address than PORT", async () => {
    await using world = await withoutEngine({ PUBLIC_PORT: "0", PUBLIC_HOST: "::1" });
    const server = await world.begin();
    expect(server.public_url).toMatch(/^http:\/\/\[::1\]:\d+$/);
    expect((await fetch(`${server.public_url}/healthz`)).status).toBe(200);
    await server.stop(0);
  });
});
