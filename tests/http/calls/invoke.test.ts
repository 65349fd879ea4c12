import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Reason } from "../../../lib/domain/errors.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError } from "../support/replies.ts";

let server: TestServer;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start();
  fn = await server.createFunction(await fixture("static"), { name: "chaos" });
  for (const path of ["/echo", "/with space/é", "/nested/a/b", "/", "/free;x=1"]) {
    await server.createRoute(path, fn.id);
  }
});

afterAll(() => server[Symbol.asyncDispose]());

function call(path: string, body: Bun.BodyInit | object = "{}", method = "POST"): Promise<Response> {
  const sent = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  return fetch(`${server.url}/r${path}`, { method, ...(method === "GET" ? {} : { body: sent }) });
}

/** A function's page must not act in the origin of `/v1`, however the call ends. */
function expectSandbox({ headers }: Response): void {
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("content-security-policy")).toBe("sandbox");
  expect(headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
}

/** The answer in the form of `api()`. */
async function replyOf(response: Response) {
  // The envelope, which `expectError` checks.
  const body = (await response.json()) as Awaited<ReturnType<TestServer["api"]>>["body"];
  return { status: response.status, headers: response.headers, body };
}

describe("POST /r/*", () => {
  test("POST /r/* answers with the bytes and the headers of the call", async () => {
    const body = '  {"do": "echo", "big": 12345678901234567890, "same": 1, "same": 2}\n';
    const response = await call("/echo", body);
    expect(await response.text()).toBe(body);
    expect(response.status).toBe(200);
    expectSandbox(response);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-function-exit-code")).toBe("0");
    expect(response.headers.get("server-timing")).toMatch(
      /^queue;dur=[\d.]+, start;dur=[\d.]+;desc=cold, run;dur=[\d.]+$/,
    );
    const invocation = await server.invocation(response.headers.get("x-request-id") ?? "");
    expect(invocation).toMatchObject({ function_id: fn.id, status: "succeeded", request_bytes: body.length });
  });

  test.each([
    "/echo",
    "/echo?x=1&y=%zz",
    "/%65cho",
    "/with%20space/%C3%A9",
    "/with space/é",
    "/nested/a/b",
    "/nested/./a/b",
    "/nested/x/../a/b",
    "/",
    "/free;x=1",
    "/free%3Bx%3d1",
  ])("POST /r%s calls the function of the route that its path decodes to", async (path) => {
    const response = await call(path);
    expect(await response.text()).toBe("{}");
    expect(response.status).toBe(200);
  });

  test.each([
    "/echo/",
    "/Echo",
    "/ech",
    "/echo%2F",
    "/%2Fecho",
    "/echo%00",
    "/nested",
    "/nested/a%2Fb/",
    "/with+space/é",
    "/echo;x",
    "/functions",
    "/%2e%2e%2fv1/functions",
    "/..%2fv1%2ffunctions",
  ])("POST /r%s answers 404", async (path) => {
    const response = await call(path);
    expectSandbox(response);
    expectError(await replyOf(response), { status: 404, reason: "not_found" });
  });

  test.each(["/%", "/%zz", "/%e9", "/%ff%fe", "/%ed%a0%80"])("POST /r%s answers 400", async (path) => {
    const response = await call(path);
    expectSandbox(response);
    expectError(await replyOf(response), {
      status: 400,
      reason: "invalid_request",
      message: "The path has a percent sign that no valid code follows: write the sign itself as %25",
    });
  });

  test.each([
    ["exits with 3 after it answered", { do: "exit", code: 3, response: '{"why": "because"}' }, 500, "3"],
    ["exits with 0 and wrote {}", { do: "exit", response: "{}" }, 200, "0"],
    ["exits with 0 and wrote nothing", { do: "exit" }, 200, "0"],
  ] as const)("POST /r/* answers with the function's own bytes when it %s", async (_name, body, status, exitCode) => {
    const response = await call("/echo", body);
    expect(await response.text()).toBe("response" in body ? body.response : "{}");
    expect(response.status).toBe(status);
    expectSandbox(response);
    expect(response.headers.get("x-function-exit-code")).toBe(exitCode);
    expect(response.headers.get("content-type")).toBe("application/json");
  });

  test.each([
    ["exits with 4 and wrote nothing", { do: "exit", code: 4 }, 502, "function_failed", "4"],
    ["answers with something that is not JSON", { do: "response", kind: "not_json" }, 502, "invalid_response", "0"],
    ["kills itself", { do: "signal", signal: 9 }, 502, "function_failed", null],
  ])("POST /r/* answers with an envelope when the function %s", async (_name, body, status, reason, exitCode) => {
    const response = await call("/echo", body);
    expectSandbox(response);
    expect(response.headers.get("x-function-exit-code")).toBe(exitCode);
    expect(response.headers.get("server-timing")).toContain("run;dur=");
    const id = response.headers.get("x-request-id") ?? "";
    expectError(await replyOf(response), { status, reason });
    expect(await server.invocation(id)).toMatchObject({ status: "failed", reason });
  });

  test("POST /r/* answers 504 when the function exceeds its timeout", async () => {
    const slow = await server.createFunction(fn.image, { timeout_ms: 300 });
    await server.createRoute("/slow", slow.id);
    const response = await call("/slow", { do: "sleep" });
    expectSandbox(response);
    const reply = await replyOf(response);
    expectError(reply, { status: 504, reason: "function_timeout" });
    expect(reply.body.message).toStartWith("The function did not answer in time");
    const record = await server.invocation(response.headers.get("x-request-id") ?? "");
    expect(record.message).toContain("300 ms");
  });

  // B7: the engine's words name users, paths and images.
  test.each<[Partial<Function>, Reason, string]>([
    [{ user: "no-such-user" }, "entrypoint_failed", "The engine said: "],
    [{ user: "no-such-user" }, "entrypoint_failed", "no-such-user"],
    [{ entrypoint: ["/no/such/program"] }, "entrypoint_failed", '"/no/such/program" cannot be executed'],
    [{ entrypoint: ["/static"], command: [] }, "entrypoint_failed", '"/static" cannot be executed'],
  ])("tells strangers no more than the reason, and the record why (%j)", async (settings, reason, words) => {
    const broken = await server.createFunction(fn.image, settings);
    const path = `/broken-${broken.id}`;
    await server.createRoute(path, broken.id);
    for (const accept of ["*/*", "application/problem+json"]) {
      const response = await fetch(`${server.url}/r${path}`, { method: "POST", headers: { accept } });
      const text = await response.text();
      expect([response.status, text]).toEqual([502, expect.stringContaining(`"${reason}"`)]);
      for (const told of ["no-such", "/no/", "static", "engine said", fn.image, broken.id])
        expect(text).not.toContain(told);
      const record = await server.invocation(response.headers.get("x-request-id") ?? "");
      expect(record.reason).toBe(reason);
      expect(record.message).toContain(words);
    }
    // A caller that may read the record gets it at once; a key that may only call does not.
    const full = await server.api("POST", `/v1/functions/${broken.id}/invoke`, {});
    expect(full.body.message).toContain(words);
    const key = await server.api<{ token: string }>("POST", "/v1/keys", { name: "caller", scopes: ["invoke"] });
    const authorization = { authorization: `Bearer ${key.body.data?.token ?? ""}` };
    const called = await server.api("POST", `/v1/functions/${broken.id}/invoke`, {}, authorization);
    expect([called.status, called.body.reason]).toEqual([502, reason]);
    expect(called.body.message).not.toContain(words);
  });

  test("POST /r/* passes {} for an empty body", async () => {
    const response = await call("/echo", "");
    expect(await response.text()).toBe("{}");
  });

  test("POST /r/* passes on bytes that are neither JSON nor text", async () => {
    const response = await call("/echo", new Uint8Array([0xff, 0xfe, 0x00]));
    expectError(await replyOf(response), { status: 502, reason: "invalid_response" });
    expect(await server.invocation(response.headers.get("x-request-id") ?? "")).toMatchObject({ request_bytes: 3 });
  });
});

test.each(["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])("%s /r/* answers 405 and allows POST", async (method) => {
  const response = await call("/echo", "{}", method);
  expectSandbox(response);
  expect(response.headers.get("allow")).toBe("POST");
  expectError(await replyOf(response), { status: 405, reason: "method_not_allowed" });
});

describe("POST /v1/functions/:id/invoke", () => {
  test.each(["id", "name"] as const)("POST /v1/functions/:id/invoke calls the function by its %s", async (key) => {
    const response = await server.invoke({ id: fn[key] ?? "" }, { do: "echo" });
    expect(await response.text()).toBe('{"do":"echo"}');
    const invocation = await server.invocation(response.headers.get("x-request-id") ?? "");
    expect(invocation).toMatchObject({ function_id: fn.id, route_id: null, status: "succeeded" });
  });

  test("POST /v1/functions/:id/invoke answers like /r", async () => {
    const response = await server.invoke(fn, { do: "exit", code: 7, response: "[7]" });
    expect(await response.text()).toBe("[7]");
    expect(response.status).toBe(500);
    expect(response.headers.get("x-function-exit-code")).toBe("7");
  });

  test("POST /v1/functions/:id/invoke answers 404 for an unknown function", async () => {
    expectError(await server.api("POST", "/v1/functions/unknown/invoke", {}), { status: 404, reason: "not_found" });
  });
});
