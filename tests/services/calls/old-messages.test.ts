import { Database as Sqlite } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { BufferedRequest, ResponseHeader } from "../../../lib/domain/calls/http-message.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { NO_SECRETS } from "../../../lib/domain/secrets.ts";
import { Metrics } from "../../../lib/metrics.ts";
import type { Call } from "../../../lib/runner/call.ts";
import type { Runner } from "../../../lib/runner/runner.ts";
import { InvocationEvents } from "../../../lib/services/calls/events.ts";
import type { InvocationService } from "../../../lib/services/calls/invocations.ts";
import { ResultService } from "../../../lib/services/calls/results.ts";
import {
  readStoredRequest,
  readStoredResponse,
  requestAfter,
  storedRequest,
  storedResponse,
} from "../../../lib/services/calls/stored-messages.ts";
import { MIGRATIONS } from "../../../lib/store/sqlite/migrations/migrations.ts";
import { AttemptRunner } from "../../../lib/services/work/attempt-runner.ts";
import {
  newStore,
  scratchDirectory,
  someFunction,
  someInvocation,
  stillClock,
} from "../../store/sqlite/support/stores.ts";
import { makeOlder } from "../../store/sqlite/support/older.ts";
import { manifestServices } from "../support/fake-engine.ts";
import { NO_TRACING } from "../support/no-tracing.ts";

const MESSAGE = {
  method: "PUT",
  url: "/r/hello/a%20b?x=1",
  path: "/hello/a b",
  path_rest: "a b",
  route: "/hello/*",
  query: { x: ["1"] },
  query_string: "x=1",
  headers: { host: "localhost", "content-type": "text/plain" },
  client_address: "127.0.0.1",
};

const { method, url, headers, ...via } = MESSAGE;
const REQUEST = { method, url, headers, via };

const [JSON_HEADER, BYTES_HEADER] = [
  ["content-type", "application/json"],
  ["content-type", "application/octet-stream"],
] as const;

/** Columns as the server before migration 10 wrote them. */
const old = (parts: object) => JSON.stringify(parts);
const said = (status: number, more: object = {}) => ({ status, headers: [["x-a", "b"]], dropped: [], ...more });

let scratch: ReturnType<typeof scratchDirectory>;
let path: string;

beforeEach(() => {
  scratch = scratchDirectory();
  path = scratch.file("database.db");
});

afterEach(() => scratch[Symbol.dispose]());

/** Writes a database as the version before did, with one asynchronous invocation. */
async function writeOld(
  fields: Partial<Invocation>,
  payload: { request_meta: string | null; response?: string; response_meta?: string },
): Promise<void> {
  {
    using store = newStore(path);
    await store.functions.insert(someFunction("f", { image_id: "id of x" }));
    await store.tables.writer.write(() => {
      store.tables.invocations.put(someInvocation("i", { function_id: "f", mode: "async", ...fields }));
      store.tables.payloads.put({
        invocation_id: "i",
        request: Buffer.from("body"),
        request_meta: payload.request_meta,
        response: payload.response === undefined ? null : Buffer.from(payload.response),
        response_meta: payload.response_meta ?? null,
      });
    });
  }
  makeOlder(path, 9);
}

describe("A database of the previous version", () => {
  test("has its queued work run with the stored request", async () => {
    await writeOld(
      { status: "queued", finished_at: null },
      { request_meta: old({ message: MESSAGE, body_file: true }) },
    );
    using services = manifestServices(path);
    const calls: Call[] = [];
    const runner = {
      run: (call: Call) => {
        calls.push(call);
        return Promise.reject(new Error("enough"));
      },
    } as unknown as Runner; // an attempt asks it for nothing else
    const memory = { isFull: false, hold: () => () => undefined };
    const metrics = new Metrics();
    const limits = { memory, response_bytes: 1_000 };
    const attempts = new AttemptRunner({
      ...services,
      ...limits,
      runner,
      secretsFor: () => NO_SECRETS,
      metrics,
      tracing: NO_TRACING,
    });
    const invocation = (await services.store.history.get("i")) ?? someInvocation("none");
    const task = { invocation, attempt: 1, signal: new AbortController().signal };
    await attempts
      .run({ ...task, onHandover: () => Promise.resolve(Infinity), onLogs: () => undefined })
      .catch(() => undefined);
    expect(calls.map(({ request }) => request)).toEqual([{ ...REQUEST, body: new Uint8Array(Buffer.from("body")) }]);
  });

  test.each<[Invocation["status"], object, number, ResponseHeader[]]>([
    ["succeeded", { meta: said(201), body_file: true }, 201, [["x-a", "b"], BYTES_HEADER]],
    ["succeeded", { meta: null, body_file: false }, 200, [JSON_HEADER]],
    ["dead", { meta: said(201), body_file: false }, 500, [["x-a", "b"], JSON_HEADER]],
  ])("returns the stored result: %s with %j", async (status, stored, expected, sent) => {
    await writeOld(
      { status, finished_at: "2026-01-31T12:00:00.000Z" },
      { request_meta: null, response: "result", response_meta: old(stored) },
    );
    using store = newStore(path);
    const invocations = { get: () => store.history.get("i") } as unknown as InvocationService; // asked for nothing else
    const results = new ResultService({
      history: store.history,
      invocations,
      events: new InvocationEvents(),
      clock: stillClock(),
      server_id: undefined,
    });
    const { response } = await results.result("i");
    expect(response).toEqual({ status: expected, headers: sent, body: new Uint8Array(Buffer.from("result")) });
  });

  test("can no longer be opened by the previous version", async () => {
    newStore(path)[Symbol.dispose]();
    const raw = new Sqlite(path);
    expect(raw.query("pragma user_version").get()).toEqual({ user_version: MIGRATIONS.length });
    raw.close();
  });
});

describe("readStoredRequest", () => {
  const body = Buffer.from("body");

  test.each<[string, string | null, Omit<BufferedRequest, "body">]>([
    ["what storedRequest wrote", storedRequest({ ...REQUEST, body }, { store_credentials: true }), REQUEST],
    ["an HTTP request in the old form", old({ message: MESSAGE, body_file: true }), REQUEST],
    [
      "JSON without a request",
      null,
      { method: "POST", url: "/", headers: { "content-type": "application/json" }, via: null },
    ],
    [
      "JSON without a request in the old form",
      old({ message: null, body_file: false }),
      { method: "POST", url: "/", headers: { "content-type": "application/json" }, via: null },
    ],
    [
      "any bytes without a request in the old form",
      old({ message: null, body_file: true }),
      { method: "POST", url: "/", headers: { "content-type": "application/octet-stream" }, via: null },
    ],
  ])("reads %s", (_, text, expected) => {
    expect(readStoredRequest(text, body)).toEqual({ ...expected, body });
  });

  test("keeps a header whose name is a property of every object", () => {
    const odd = { ...REQUEST, headers: Object.fromEntries([["__proto__", "x"]]), body };
    expect(Object.entries(readStoredRequest(storedRequest(odd, { store_credentials: false }), body).headers)).toEqual([
      ["__proto__", "x"],
    ]);
  });
});

test("readStoredResponse leaves out headers that an older version let pass", () => {
  const kept = {
    status: 201,
    headers: [
      ["x-accel-redirect", "/internal"],
      ["x-a", "b"],
    ],
  };
  expect(readStoredResponse(old(kept), { succeeded: true })).toEqual({ status: 201, headers: [["x-a", "b"]] });
  const { headers: read } = readStoredResponse(old({ meta: { ...kept, dropped: [] }, body_file: true }), {
    succeeded: true,
  });
  expect(read.map(([name]) => name)).toEqual(["x-a", "content-type"]);
});

test("readStoredResponse leaves what speaks for an origin only to a function that has one of its own", () => {
  const headers: ResponseHeader[] = [
    ["strict-transport-security", "max-age=1"],
    ["x-sendfile", "/etc/passwd"],
    ["x-a", "b"],
  ];
  const column = storedResponse({ status: 200, headers });
  const namesOf = (ownOrigin: boolean) =>
    readStoredResponse(column, { succeeded: true, ownOrigin }).headers.map(([name]) => name);
  expect(namesOf(true)).toEqual(["strict-transport-security", "x-a"]);
  expect(namesOf(false)).toEqual(["x-a"]);
});

test("readStoredResponse accepts a row without a column for JSON", () => {
  expect(readStoredResponse(null, { succeeded: true })).toEqual({ status: 200, headers: [JSON_HEADER] });
});

test.each<[string, string | null, string | null]>([
  ["JSON", old({ status: 200, headers: [JSON_HEADER] }), null],
  ["another kind of JSON", old({ status: 200, headers: [["content-type", "application/problem+json"]] }), null],
  ["an answer without a type", old({ status: 204, headers: [] }), null],
  ["no column", null, null],
  ["any bytes", old({ status: 200, headers: [BYTES_HEADER] }), "application/octet-stream"],
  ["any bytes in the old form", old({ meta: null, body_file: true }), "application/octet-stream"],
])("requestAfter turns %s into a request of the same type", (_, column, type) => {
  const request = requestAfter(column);
  expect(request === null ? null : readStoredRequest(request, Buffer.from("")).headers["content-type"]).toBe(
    type ?? null,
  );
});
