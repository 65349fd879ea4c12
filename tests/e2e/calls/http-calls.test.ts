import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { rawRequest } from "../../http/support/raw-request.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

/** A function that runs the script in the header `x-script`, in its context, so that the body can be anything. */
const RUN = [
  "cd $CONTEXT_PATH",
  `script=$(sed -n 's/.*"x-script":"\\([^"]*\\)".*/\\1/p' request.meta.json)`,
  'eval "$(printf %s "$script" | base64 -d)"',
].join("; ");

let server: TestServer;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start();
  fn = await server.createFunction(await fixture("shell"), {
    name: "runner",
    entrypoint: ["/bin/sh", "-c"],
    command: [RUN],
    timeout_ms: 20_000,
  });
  await server.createRoute("/run", fn.id);
});

afterAll(() => server[Symbol.asyncDispose]());

const script = (text: string) => ({ "x-script": Buffer.from(text).toString("base64") });

/** Calls the route with a script for the function, without following redirects. */
function run(text: string, init: RequestInit & { path?: string } = {}): Promise<Response> {
  const { path = "/run", headers, ...rest } = init;
  const all = new Headers(headers);
  all.set("x-script", script(text)["x-script"]);
  return fetch(`${server.url}/r${path}`, { method: "POST", redirect: "manual", ...rest, headers: all });
}

async function jsonOf(response: Response): Promise<Record<string, unknown>> {
  const value: unknown = await response.json();
  if (value === null || typeof value !== "object") throw new Error(`No object: ${JSON.stringify(value)}`);
  return { ...value };
}

const ANSWER_META = "cp request.meta.json response.json";
const say = (meta: object | string) =>
  `cat > response.meta.json <<'END'\n${typeof meta === "string" ? meta : JSON.stringify(meta)}\nEND\n`;

describe("request.meta.json", () => {
  test("describes the request, the call and its deadline", async () => {
    const before = Date.now();
    const response = await run(ANSWER_META, {
      path: "/run?a=1&b=%C3%A9+x&a=2&__proto__=3",
      headers: { "X-Mine": "one", Authorization: "Basic dTpw", Cookie: "a=b", "X-Forwarded-For": "192.0.2.1" },
      body: "[]",
    });
    const meta = await jsonOf(response);
    expect(meta).toMatchObject({
      method: "POST",
      url: "/r/run?a=1&b=%C3%A9+x&a=2&__proto__=3",
      path: "/run",
      path_rest: null,
      route: "/run",
      query_string: "a=1&b=%C3%A9+x&a=2&__proto__=3",
      client_address: "127.0.0.1",
      request_id: response.headers.get("x-request-id"),
      function: { id: fn.id, name: "runner", version: fn.version },
      timeout_ms: 20_000,
    });
    expect(Object.entries(meta["query"] ?? {})).toEqual([
      ["a", ["1", "2"]],
      ["b", ["é x"]],
      ["__proto__", ["3"]],
    ]);
    expect(meta["headers"]).toMatchObject({
      host: new URL(server.url).host,
      "x-mine": "one",
      authorization: "Basic dTpw",
      cookie: "a=b",
      "x-forwarded-for": "192.0.2.1",
      "content-length": "2",
    });
    const deadline = Date.parse(String(meta["deadline"]));
    expect(deadline).toBeWithin(before + 20_000, Date.now() + 20_001);
  });

  // EDGE.md E9
  test.each([
    [{}, { "x-mine": "one" }],
    [{ store_credentials: true }, { "x-mine": "one", cookie: "a=b" }],
  ])("of an asynchronous call of a function with %j has the headers that were stored", async (settings, expected) => {
    const changed = await server.api("PATCH", `/v1/functions/${fn.id}`, settings);
    expect(changed.status).toBe(200);
    const path = `/v1/functions/${fn.id}/invoke?async=true`;
    const headers = { "X-Mine": "one", Cookie: "a=b", ...script(ANSWER_META) };
    const queued = await fetch(server.url + path, { method: "POST", headers, body: "{}" });
    const { data } = (await queued.json()) as { data: { id: string } }; // an envelope with the record
    expect(await eventually(async () => (await server.invocation(data.id)).status === "succeeded")).toBe(true);
    const meta = await jsonOf(await fetch(`${server.url}/v1/invocations/${data.id}/result`));
    const { "x-mine": mine, cookie } = meta["headers"] as Record<string, string>; // of the server's own file
    expect({ "x-mine": mine, ...(cookie !== undefined && { cookie }) }).toEqual(expected);
  });

  test("has no connection headers", async () => {
    const headers = [
      "Host: localhost",
      "Connection: keep-alive, X-Hop",
      "X-Hop: 1",
      "X-End: 2",
      "Keep-Alive: timeout=5",
      "TE: trailers",
      "Proxy-Authorization: Basic dTpw",
      `X-Script: ${script(ANSWER_META)["x-script"]}`,
    ];
    const { status, text } = await rawRequest(server.url, "POST /r/run HTTP/1.1", { headers, body: "{}" });
    expect(status).toBe(200);
    const meta: { headers: object } = JSON.parse(text);
    expect(Object.keys(meta.headers).toSorted()).toEqual(["content-length", "host", "x-end", "x-script"]);
  });

  test("of a call without a route contains no key", async () => {
    await using guarded = await TestServer.start({ API_KEY: "a-key-that-is-long-enough-for-this" });
    const authorization = "Bearer a-key-that-is-long-enough-for-this";
    const headers = { authorization, "x-api-key": "another", ...script(ANSWER_META) };
    const settings = { entrypoint: fn.entrypoint, command: fn.command };
    const body = JSON.stringify({ image: fn.image, ...settings });
    const created = await guarded.api<Function>("POST", "/v1/functions", body, { authorization });
    const meta = await jsonOf(await guarded.invoke(created.body.data, "", { headers }));
    expect(meta).toMatchObject({ url: `/v1/functions/${created.body.data.id}/invoke`, path: "/", route: null });
    expect(JSON.stringify(meta)).not.toMatch(/authorization|api-key|another/);
  });

  test("is new for each call of a reused instance", async () => {
    const settings = { entrypoint: fn.entrypoint, command: fn.command, max_calls: 0 };
    const reused = await server.createFunction(fn.image, settings);
    for (const own of ["1", "2", "3"]) {
      const response = await server.invoke(reused, "", { headers: { ...script(ANSWER_META), own } });
      const meta = await jsonOf(response);
      expect(meta).toMatchObject({ request_id: response.headers.get("x-request-id"), headers: { own } });
    }
  });
});

// D4
describe("an encoded body", () => {
  const packed = Bun.gzipSync(Buffer.from('{"packed": true}'));
  const ECHO = "cp request.body response.body; cmp -s request.body request.json || exit 1";
  const headers = { "Content-Encoding": "gzip", "Content-Type": "application/json" };

  test.each([
    ["POST /r/*", (more: Record<string, string>) => run(ECHO, { headers: more, body: packed })],
    [
      "POST /v1/functions/:id/invoke",
      (more: Record<string, string>) => server.invoke(fn, packed, { headers: { ...script(ECHO), ...more } }),
    ],
  ])("of %s reaches the function byte for byte", async (_name, send) => {
    const response = await send(headers);
    expect(response.status).toBe(200);
    expect(Buffer.from(await response.arrayBuffer()).equals(packed)).toBe(true);
  });

  test("comes with its Content-Encoding", async () => {
    const meta = await jsonOf(await run(ANSWER_META, { headers, body: packed }));
    expect(meta["headers"]).toMatchObject({ "content-encoding": "gzip", "content-type": "application/json" });
  });
});

describe("request.body", () => {
  const LIST = `{ printf '"'; ls request.body 2>&1 | tr -d '\\n'; printf '"'; } > response.json`;
  const bytes = crypto.getRandomValues(new Uint8Array(100_000));

  test("is the body byte for byte if that is not JSON", async () => {
    const headers = { "content-type": "application/octet-stream" };
    const response = await run("cp request.body response.body", { headers, body: bytes });
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
  });

  test.each([
    ["application/json", "{}", false],
    ["application/problem+json; charset=utf-8", "{}", false],
    ["application/x-www-form-urlencoded", "{}", true],
    ["text/plain", "", true],
    [null, "", false],
  ] as const)("of %p and %j", async (type, body, there) => {
    const headers = type === null ? {} : { "content-type": type };
    const response = await run(LIST, { headers, ...(body !== "" && { body }) });
    expect(await response.json()).toBe(there ? "request.body" : "ls: request.body: No such file or directory");
  });
});

describe("response.meta.json", () => {
  test("sets the status and headers, including repeated ones", async () => {
    const headers = { Location: "/elsewhere", "Set-Cookie": ["a=1; Path=/", "b=2"], "X-Many": ["1", "2"] };
    const response = await run(`${say({ status: 201, headers })}echo '{"made": 1}' > response.json`);
    expect(response.status).toBe(201);
    expect(await response.json()).toEqual({ made: 1 });
    expect(response.headers.get("location")).toBe("/elsewhere");
    expect(response.headers.getSetCookie()).toEqual(["a=1; Path=/", "b=2"]);
    expect(response.headers.get("x-many")).toBe("1, 2");
    expect(response.headers.get("content-type")).toBe("application/json");
    const id = response.headers.get("x-request-id") ?? "";
    expect(await server.invocation(id)).toMatchObject({ status: "succeeded", exit_code: 0, response_bytes: 12 });
  });

  test("and response.body make an answer of any type", async () => {
    const meta = { headers: { "Content-Type": "image/png", "Cache-Control": "max-age=60" } };
    const response = await run(`${say(meta)}head -c 70000 /dev/zero > response.body; echo no > response.json`);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "image/png"]);
    expect(response.headers.get("cache-control")).toBe("max-age=60");
    expect((await response.arrayBuffer()).byteLength).toBe(70_000);
  });

  test.each([
    [200, "x"],
    [204, ""],
    [205, ""],
    [302, "x"],
    [304, ""],
    [404, "x"],
    [418, "x"],
    [599, "x"],
  ])("sets the status %d", async (status, text) => {
    const response = await run(`${say({ status, headers: { location: "/x" } })}printf x > response.body`);
    expect([response.status, await response.text()]).toEqual([status, text]);
  });

  test("cannot weaken the server's headers, and adds to its policy", async () => {
    const headers = {
      "Content-Type": "text/html",
      "Content-Security-Policy": "sandbox allow-scripts",
      "X-Content-Type-Options": "none",
      "X-Request-Id": "forged",
      "Content-Length": "1",
      "Transfer-Encoding": "chunked",
      Connection: "X-Mine",
      "X-Mine": "1",
      "Strict-Transport-Security": "max-age=1",
      // C5
      "X-Accel-Redirect": "/internal/secrets",
      "X-Sendfile": "/etc/passwd",
      "Reporting-Endpoints": 'default="https://elsewhere.example"',
    };
    const response = await run(`${say({ headers })}printf hello > response.body; echo mine >&2`);
    expect(await response.text()).toBe("hello");
    expect(response.headers.get("content-security-policy")).toBe("sandbox, sandbox allow-scripts");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("strict-transport-security")).toBeNull();
    for (const name of ["x-accel-redirect", "x-sendfile", "reporting-endpoints"]) {
      expect(response.headers.get(name)).toBeNull();
    }
    expect(response.headers.get("x-mine")).toBe("1");
    const id = response.headers.get("x-request-id") ?? "";
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    const { entries } = await server.logs(id);
    const lines = entries.map(({ text }) => text).join("");
    expect(lines).toStartWith("mine\n");
    for (const name of [
      "x-content-type-options",
      "x-request-id",
      "content-length",
      "transfer-encoding",
      "connection",
      "strict-transport-security",
      "x-accel-redirect",
      "x-sendfile",
      "reporting-endpoints",
    ]) {
      expect(lines).toContain(`slipway: the header "${name}" of response.meta.json is left out: `);
    }
  });

  test("of a call without a route gets the same sandbox policy", async () => {
    const headers = script(`${say({ headers: { "content-type": "text/html" } })}echo '<p>' > response.body`);
    const response = await server.invoke(fn, "", { headers });
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/html"]);
    expect(response.headers.get("content-security-policy")).toBe("sandbox");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  });

  test("does not change the status of a function that fails", async () => {
    const meta = { status: 201, headers: { "x-mine": "1", "content-type": "application/problem+json" } };
    const response = await run(`${say(meta)}echo '{"why": 1}' > response.json; exit 3`);
    expect([response.status, await response.json()]).toEqual([500, { why: 1 }]);
    expect(response.headers.get("x-function-exit-code")).toBe("3");
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("x-mine")).toBe("1");
  });

  test.each([
    ["no JSON", say("status: 201"), "response.meta.json is not JSON"],
    ["nothing", ": > response.meta.json", "response.meta.json is empty"],
    [
      "another field",
      say({ statusCode: 201 }),
      'has an unknown field, number 1: it may have "status", "headers", "retry", "retry_after_ms"',
    ],
    [
      "a status of another connection",
      say({ status: 101 }),
      'has a "status" that is a number: give a whole number from 200 to 599',
    ],
    [
      "a header in two lines",
      say({ headers: { "x-a": "1\r\nx-b: 2" } }),
      "has a character that no header can have in the value of header 1",
    ],
    ["a header with a bad name", say({ headers: { "x a": "1" } }), "a malformed name for header 1"],
    ["a link", "ln -s /etc/passwd response.meta.json", "response.meta.json is not a regular file"],
    ["too much", "head -c 65537 /dev/zero > response.meta.json", "over the limit of 65536 bytes"],
    ["a link as body", "ln -s /etc/passwd response.body", "response.body is not a regular file"],
    ["no JSON as response.json", `${say({ status: 201 })}echo hello > response.json`, "response.json is not JSON"],
  ])("with %s is 502 invalid_response", async (_, text, message) => {
    const response = await run(text);
    const body = await jsonOf(response);
    expect(response.status).toBe(502);
    expect(body).toMatchObject({
      success: false,
      reason: "invalid_response",
      message: expect.stringContaining("cannot be passed on"),
    });
    const id = response.headers.get("x-request-id") ?? "";
    expect(await server.invocation(id)).toMatchObject({
      status: "failed",
      reason: "invalid_response",
      exit_code: 0,
      message: expect.stringContaining(message),
    });
  });

  test("with a response.body over the limit is 502 response_too_large", async () => {
    const response = await run("truncate -s 7M response.body");
    expect(response.status).toBe(502);
    expect(await jsonOf(response)).toMatchObject({ reason: "response_too_large" });
  });
});
