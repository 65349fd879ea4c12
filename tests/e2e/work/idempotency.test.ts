import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

// EDGE.md D5.

let server: TestServer;
let fn: string;

beforeAll(async () => {
  server = await TestServer.start();
  const image = await fixture("chaos");
  ({ id: fn } = await server.createFunction(image, { name: "chaos" }));
  const { id: slow } = await server.createFunction(image, {
    name: "slow",
    entrypoint: ["/bin/sh", "-c"],
    command: ['sleep 1; printf \'{"pid":"%s"}\' "$REQUEST_ID" > "$CONTEXT_PATH/response.json"'],
  });
  const methods = ["POST", "PUT", "DELETE"];
  for (const route of [
    { path: "/files/*", function_id: fn, methods, async: true },
    { path: "/slow", function_id: slow },
  ])
    expectSuccess(await server.api("POST", "/v1/routes", route));
});
afterAll(() => server[Symbol.asyncDispose]());

let keys = 0;
const newKey = () => `key-${++keys}`;

interface Options {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

async function call(key: string, path = "/r/files/a.txt", { method = "POST", body, headers }: Options = {}) {
  const response = await fetch(`${server.url}${path}`, {
    method,
    body: body ?? '{"do":"echo"}',
    headers: { "Idempotency-Key": key, ...headers },
  });
  const text = await response.text();
  return {
    status: response.status,
    text,
    reason: response.status >= 400 ? (JSON.parse(text) as { reason?: string }).reason : undefined,
    replayed: response.headers.get("idempotent-replayed"),
    exit: response.headers.get("x-function-exit-code"),
    headers: response.headers,
  };
}

async function count(functionId: string): Promise<number> {
  const page = await server.api<InvocationPage>("GET", `/v1/invocations?function_id=${functionId}&limit=500`);
  return expectSuccess(page).invocations.length;
}

test.each(["/r/files/a.txt", "/v1/functions/chaos/invoke"])(
  "a synchronous call to %s that comes again gets the stored answer, and the function runs once",
  async (path) => {
    const [key, before] = [newKey(), await count(fn)];
    const first = await call(key, path);
    expect([first.status, first.text, first.replayed]).toEqual([200, '{"do":"echo"}', null]);
    const second = await call(key, path);
    expect([second.status, second.text, second.replayed, second.exit]).toEqual([200, '{"do":"echo"}', "true", "0"]);
    expect(second.headers.get("x-request-id")).toBe(first.headers.get("x-request-id"));
    expect(second.headers.get("content-type")).toBe(first.headers.get("content-type"));
    expect((await count(fn)) - before).toBe(1);
  },
);

test("a failure is an answer, too", async () => {
  const key = newKey();
  const body = '{"do":"exit","code":3}';
  const first = await call(key, undefined, { body });
  const second = await call(key, undefined, { body });
  expect([first.status, first.reason, first.replayed]).toEqual([502, "function_failed", null]);
  expect([second.status, second.reason, second.replayed, second.exit]).toEqual([502, "function_failed", "true", "3"]);
});

test.each([
  ["method", "/r/files/a.txt", { method: "DELETE" }],
  ["path", "/r/files/b.txt", { method: "PUT" }],
  ["query", "/r/files/a.txt?x=1", { method: "PUT" }],
  ["body", "/r/files/a.txt", { method: "PUT", body: '{"do":"echo","n":1}' }],
])("a key with another %s is refused, synchronous and asynchronous", async (_what, path, options) => {
  for (const headers of [{}, { prefer: "respond-async" }]) {
    const key = newKey();
    expect((await call(key, "/r/files/a.txt", { method: "PUT", headers })).status).toBeLessThan(300);
    const other = await call(key, path, { ...options, headers });
    expect([other.status, other.reason]).toEqual([422, "idempotency_mismatch"]);
    expect((await call(key, "/r/files/a.txt", { method: "PUT", headers })).replayed).toBe("true");
  }
});

test("those that come meanwhile wait for the first, also if its client goes away", async () => {
  const key = newKey();
  const gone = new AbortController();
  const first = fetch(`${server.url}/r/slow`, {
    method: "POST",
    body: "{}",
    headers: { "Idempotency-Key": key },
    signal: gone.signal,
  });
  first.catch(() => undefined);
  expect(await eventually(async () => (await count("slow")) === 1)).toBe(true);
  const waiting = Array.from({ length: 5 }, () => call(key, "/r/slow", { body: "{}" }));
  gone.abort();
  const all = await Promise.all(waiting);
  expect(new Set(all.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
  expect(all.map(({ status, replayed }) => [status, replayed])).toEqual(all.map(() => [200, "true"]));
  expect(await count("slow")).toBe(1);
  const later = await call(key, "/r/slow", { body: "{}" });
  expect([later.text, later.replayed]).toEqual([all[0]?.text ?? "", "true"]);
});

test("a hundred at once call the function once", async () => {
  const [key, before] = [newKey(), await count(fn)];
  const all = await Promise.all(Array.from({ length: 100 }, () => call(key)));
  expect(all.filter(({ replayed }) => replayed === null)).toHaveLength(1);
  expect(new Set(all.map(({ status, text }) => `${status} ${text}`))).toEqual(new Set(['200 {"do":"echo"}']));
  expect((await count(fn)) - before).toBe(1);
});

test("the answer is of the kind that the first request asked for", async () => {
  const [queued, called] = [newKey(), newKey()];
  const headers = { prefer: "respond-async" };
  const first = await call(queued, undefined, { headers });
  const { data } = JSON.parse(first.text) as { data: Invocation };
  const second = await call(queued);
  expect([second.status, second.replayed]).toEqual([202, "true"]);
  expect((JSON.parse(second.text) as { data: Invocation }).data.id).toBe(data.id);
  await call(called);
  const third = await call(called, undefined, { headers });
  expect([third.status, third.replayed]).toEqual([202, "true"]);
});

test("callers of a public route that send credentials have keys of their own", async () => {
  const key = newKey();
  const as = (token: string) => call(key, undefined, { headers: { authorization: `Bearer ${token}` } });
  expect((await as("one")).replayed).toBeNull();
  expect((await as("two")).replayed).toBeNull();
  expect((await call(key)).replayed).toBeNull();
  expect((await as("one")).replayed).toBe("true");
});
