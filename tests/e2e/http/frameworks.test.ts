import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ChangedFunction, Function } from "../../../lib/domain/functions/functions.ts";
import { fixture, type FixtureName } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { containersBecome, full, timingOf } from "../pool/pools.ts";

/**
 * Servers of npm and Debian as people write them, with Dockerfiles as people write them. Each is used once, which is why the
 * calls that they count are always the first, and none has a network.
 */
const SERVERS = ["express", "fastify", "functions-framework", "flask", "ws-echo"] as const;

/** Unpacking the programs, and making images of them, which happens once on a machine. */
const SETUP_TIMEOUT_MS = 300_000;

let server: TestServer;
const registered = new Map<string, ChangedFunction>();

beforeAll(async () => {
  // Before the server is there: an engine that takes in a large image is slow to answer anything else.
  for (const name of [...SERVERS, "java-server"] as const) await fixture(name);
  server = await TestServer.start({ WARM_MAX: "1" });
  // One after the other, as trials are.
  for (const name of SERVERS) registered.set(name, await register(name, name));
  registered.set("noted", await register("noted", "functions-framework", NOTED));
}, SETUP_TIMEOUT_MS);

afterAll(() => server[Symbol.asyncDispose]());

/** The other function in the sources of the one for Cloud Functions. */
const NOTED = { command: ["node_modules/.bin/functions-framework", "--target=noted"] };

async function register(
  name: string,
  image: FixtureName,
  settings: Partial<Function> & { readonly probe?: boolean } = {},
): Promise<ChangedFunction> {
  // Most have shown in a trial that they start, and what is not used would be in the way of the next test.
  const others = { name, network: "none", warm_max: 0, probe: name === "express", ...settings } as const;
  const fn = await server.createFunction(await fixture(image), others);
  const { body } = await server.api("POST", "/v1/routes", { path: `/${name}/*`, function_id: fn.id });
  if (!body.success) throw new Error(body.message);
  return fn;
}

function at(name: string, path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/r/${name}${path}`, init);
}

async function json(response: Response): Promise<unknown> {
  return [response.status, await response.json()];
}

function asJson(body: object): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

/** Waits until the log of a call has a text: a server may print after it has answered. */
async function expectLog(response: Response, wanted: string): Promise<void> {
  let log = "";
  await eventually(async () => {
    const { entries } = await server.logs(response.headers.get("x-request-id") ?? "");
    log = entries.map(({ text }) => text).join("");
    return log.includes(wanted);
  });
  expect(log).toContain(wanted);
}

/** Returns a body that says nothing of its length. */
function piecewise(piece: Uint8Array, count: number): ReadableStream<Uint8Array> {
  let left = count;
  return new ReadableStream({
    pull: (controller) => (left-- > 0 ? controller.enqueue(piece) : controller.close()),
  });
}

test.each([
  ["express", "port_variable", 3000, "variable"],
  ["fastify", "exposed_port", 8080, "exposed"],
  ["functions-framework", "functions_framework", 8080, "default"],
  ["noted", "functions_framework", 8080, "default"],
  ["flask", "port_variable", 8080, "variable"],
  ["ws-echo", "label", 7000, "label"],
] as const)("%s is a server by its %s, at port %d", (name, contract_reason, port, port_reason) => {
  const { warnings, ...fn } = registered.get(name) ?? {};
  expect(fn).toMatchObject({ contract: "http", contract_reason, port, port_reason, max_calls: 1, network: "none" });
  expect(warnings).toBeUndefined();
});

test("Express knows its client and its address, sets cookies, reads JSON, and answers 500 with a stack in the log", async () => {
  const [note, made, broken] = await Promise.all([
    at("express", "/notes/a%20b?tag=x&tag=y"),
    at("express", "/notes", asJson({ title: "café" })),
    at("express", "/broken"),
  ]);
  expect(note.headers.getSetCookie()).toEqual(["seen=a%20b; Path=/", "theme=dark; Path=/; HttpOnly"]);
  expect(note.headers.get("etag")).toStartWith("W/");
  expect(await json(note)).toEqual([
    200,
    {
      calls: 1,
      id: "a b",
      query: { tag: ["x", "y"] },
      client: "127.0.0.1",
      url: `${server.url}/r/express/notes/a%20b?tag=x&tag=y`,
    },
  ]);
  expect([made.headers.get("location"), await json(made)]).toEqual(["/notes/7", [201, { calls: 1, title: "café" }]]);
  expect([broken.status, broken.headers.get("content-type")]).toEqual([500, "text/html; charset=utf-8"]);
  await broken.text();
  await expectLog(broken, "Error: no such table: notes\n    at ");
  expect(await server.ended(broken.headers.get("x-request-id") ?? "")).toMatchObject({ status: "failed" });
});

test("Fastify, which listens on loopback alone, checks what it is sent by its schema, logs, and streams 5 MiB through", async () => {
  const body = crypto.getRandomValues(new Uint8Array(65_536));
  const headers = { "Content-Type": "application/octet-stream" };
  const [sum, wrong, echo] = await Promise.all([
    at("fastify", "/sum", asJson({ numbers: [1, 2, 39] })),
    at("fastify", "/sum", asJson({ numbers: ["one"] })),
    at("fastify", "/echo", { method: "POST", headers, body: piecewise(body, 80) }),
  ]);
  expect(await json(sum)).toEqual([200, { calls: 1, sum: 42 }]);
  await expectLog(sum, '"msg":"request completed"');
  expect(await json(wrong)).toEqual([
    400,
    { statusCode: 400, code: "FST_ERR_VALIDATION", error: "Bad Request", message: "body/numbers/0 must be number" },
  ]);
  expect([echo.status, await hashOf(echo.body)]).toEqual([200, await hashOf(piecewise(body, 80))]);
});

async function hashOf(pieces: AsyncIterable<Uint8Array> | null): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for await (const piece of pieces ?? []) hash.update(piece);
  return hash.digest("hex");
}

test("@google-cloud/functions-framework runs HTTP functions and functions of events", async () => {
  const asEvent = { "ce-id": "7", "ce-type": "com.example.note", "ce-source": "/notes", "ce-specversion": "1.0" };
  const note = asJson({ title: "milk" });
  const headers = { "Content-Type": "application/json" };
  const [byRoute, byId, event] = await Promise.all([
    at("functions-framework", "/?name=Ada"),
    server.invoke({ id: "functions-framework" }, { name: "Grace" }, { headers }),
    at("noted", "/", { ...note, headers: { ...headers, ...asEvent } }),
  ]);
  expect([await byRoute.text(), await byId.text()]).toEqual(["Hello, Ada! (1)", "Hello, Grace! (1)"]);
  expect([event.status, await event.text()]).toEqual([204, ""]);
  await expectLog(event, "noted 7 com.example.note milk\n");
});

test("Flask under gunicorn reads forms and bodies of unknown length, and answers with what a generator makes", async () => {
  const [form, length, lines, gone] = await Promise.all([
    at("flask", "/form?a=1", { method: "POST", body: new URLSearchParams({ b: "2", c: "é" }) }),
    at("flask", "/length", { method: "POST", body: piecewise(new Uint8Array(1 << 20), 3) }),
    at("flask", "/lines"),
    at("flask", "/gone"),
  ]);
  expect(form.headers.get("server")).toBe("gunicorn");
  const seen = { calls: 1, query: { a: "1" }, form: { b: "2", c: "é" }, client: "127.0.0.1" };
  expect(await json(form)).toEqual([200, seen]);
  expect(await json(length)).toEqual([200, { bytes: 3 << 20, length: null }]);
  expect(await lines.text()).toBe(Array.from({ length: 1_000 }, (_, n) => `line ${n}\n`).join(""));
  expect([gone.status, await gone.text()]).toEqual([410, expect.stringContaining("It was here yesterday")]);
});

test("com.sun.net.httpserver, which boots slowly, has booted before its call", async () => {
  const { id, ...fn } = await server.createFunction(await fixture("java-server"), { network: "none", warm_max: 1 });
  expect(fn).toMatchObject({ contract: "http", contract_reason: "exposed_port", port: 8000, port_reason: "exposed" });
  await full(server, { id }, 1);
  const answer = await server.invoke({ id }, "größe");
  expect([answer.status, await answer.text()]).toEqual([200, "1 / GRÖSSE"]);
  expect(timingOf(answer).how).toBe("warm");
  const record = await server.ended(answer.headers.get("x-request-id") ?? "");
  expect(record).toMatchObject({ start: "warm", boot_ms: expect.any(Number) });
  // The next one is booting, and is not waited for.
  expect((await server.api("DELETE", `/v1/functions/${id}`)).status).toBe(200);
  await containersBecome(0, { id });
});

test("ws says back text and bytes, and the subprotocol and the code of the client pass", async () => {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/r/ws-echo/chat?room=1`, ["v1", "v2"]);
  socket.binaryType = "arraybuffer";
  const got: unknown[] = [];
  const { promise, resolve } = Promise.withResolvers<unknown>();
  socket.addEventListener("open", () => {
    socket.send("café");
    socket.send(new Uint8Array([0, 255]));
  });
  socket.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (got.push(typeof data === "string" ? data : [...new Uint8Array(data)]) === 3) socket.close(4001, "enough");
  });
  socket.addEventListener("close", ({ code, reason }) => resolve([code, reason]));
  expect([await promise, socket.protocol, got]).toEqual([[4001, "enough"], "v2", ["1 /chat?room=1", "café", [0, 255]]]);
});
