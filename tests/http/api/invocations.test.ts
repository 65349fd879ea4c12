import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

let server: TestServer;
let fn: Function;
let other: Function;
let route: Route;
/** The ids of the calls, oldest first. */
const ids: string[] = [];

beforeAll(async () => {
  server = await TestServer.start();
  const image = await fixture("static");
  fn = await server.createFunction(image, { name: "recorded" });
  other = await server.createFunction(image);
  route = await server.createRoute("/recorded", fn.id);
  for (const body of [
    { do: "log", text: "hello\n" },
    { do: "exit", code: 2, response: "{}" },
    { do: "exit", code: 3 },
  ]) {
    await remember(fetch(`${server.url}/r/recorded`, { method: "POST", body: JSON.stringify(body) }));
  }
  await remember(server.invoke(other, "{}"));
});

afterAll(() => server[Symbol.asyncDispose]());

async function remember(response: Promise<Response>): Promise<void> {
  const { headers } = await response;
  ids.push(headers.get("x-request-id") ?? "");
}

async function page(query: string): Promise<InvocationPage> {
  return expectSuccess(await server.api<InvocationPage>("GET", `/v1/invocations${query}`));
}

async function listed(query: string): Promise<string[]> {
  return (await page(query)).invocations.map(({ id }) => id);
}

describe("GET /v1/invocations", () => {
  test("GET /v1/invocations answers an empty page when there are none", async () => {
    await using fresh = await TestServer.start();
    const empty = await fresh.api("GET", "/v1/invocations");
    expect(expectSuccess(empty)).toEqual({ invocations: [], next_cursor: null });
  });

  test("GET /v1/invocations lists them, newest first", async () => {
    expect(await listed("")).toEqual(ids.toReversed());
  });

  test("GET /v1/invocations pages by cursor to the end", async () => {
    const seen: string[] = [];
    let cursor = "";
    for (let pages = 1; pages <= ids.length; pages++) {
      const { invocations, next_cursor } = await page(`?limit=1${cursor}`);
      seen.push(...invocations.map(({ id }) => id));
      expect(next_cursor === null).toBe(pages === ids.length);
      cursor = `&cursor=${encodeURIComponent(next_cursor ?? "")}`;
    }
    expect(seen).toEqual(ids.toReversed());
  });

  test("GET /v1/invocations?function_id= accepts an id or a name", async () => {
    const three = ids.slice(0, 3).toReversed();
    expect(await listed(`?function_id=${fn.id}`)).toEqual(three);
    expect(await listed("?function_id=recorded")).toEqual(three);
    expect(await listed(`?function_id=${other.id}`)).toEqual(ids.slice(3));
    expect(await listed("?function_id=unknown")).toEqual([]);
  });

  test("GET /v1/invocations?status= filters by status", async () => {
    expect(await listed("?status=failed")).toEqual(ids.slice(1, 3).toReversed());
    expect(await listed("?status=succeeded&function_id=recorded")).toEqual(ids.slice(0, 1));
    expect(await listed("?status=timed_out")).toEqual([]);
  });

  test("GET /v1/invocations?since=&until= accepts times in any zone", async () => {
    const times = (await page("")).invocations.map(({ created_at }) => created_at);
    const middle = Date.parse(times[1] ?? "");
    const inTokyo = `${new Date(middle + 9 * 3_600_000).toISOString().slice(0, -1)}+09:00`;
    expect(await listed(`?since=${encodeURIComponent(inTokyo)}`)).toEqual(ids.slice(2).toReversed());
    expect(await listed(`?until=${times[1]}`)).toEqual(ids.slice(0, 2).toReversed());
  });

  test.each([
    ["limit=0", 'Invalid "limit" "0": give a whole number from 1 to 500'],
    ["limit=501", 'Invalid "limit" "501": give a whole number from 1 to 500'],
    ["limit=", 'Invalid "limit" "": give a whole number from 1 to 500'],
    ["limit=1e1", 'Invalid "limit" "1e1": give a whole number from 1 to 500'],
    ["limt=5", 'Unknown query parameter "limt": did you mean "limit"?'],
    [
      "status=done",
      'Invalid "status": it must be "queued", "running", "succeeded", "failed", "timed_out", "cancelled" or "dead", but it is "done"',
    ],
    ["cursor=x", 'Invalid "cursor": send "next_cursor" of the page before as it is, or leave it out'],
    ["since=yesterday", 'Invalid "since" "yesterday": give a time such as 2026-01-31T12:00:00Z'],
    ["until=2026-13-01", 'Invalid "until" "2026-13-01": give a time such as 2026-01-31T12:00:00Z'],
    ["since=9999999999-01-01", 'Invalid "since" "9999999999-01-01": give a time such as 2026-01-31T12:00:00Z'],
    [
      "__proto__=1",
      'Unknown query parameter "__proto__": expected "function_id", "status", "parent_id", "since", "until", "cursor" or "limit"',
    ],
  ])("GET /v1/invocations?%s answers 400", async (query, message) => {
    const reply = await server.api("GET", `/v1/invocations?${query}`);
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });
});

describe("GET /v1/invocations/:id", () => {
  test("GET /v1/invocations/:id shows everything that is known about a call", async () => {
    const invocation = expectSuccess(await server.api<Invocation>("GET", `/v1/invocations/${ids[0]}`));
    const number = expect.any(Number);
    expect(invocation).toEqual({
      id: ids[0] ?? "",
      function_id: fn.id,
      route_id: route.id,
      image_id: fn.image_id,
      status: "succeeded",
      reason: null,
      message: null,
      exit_code: 0,
      signal: null,
      start: "cold",
      queue_ms: number,
      start_ms: number,
      boot_ms: null,
      first_byte_ms: null,
      run_ms: number,
      cpu_ms: number,
      peak_memory_bytes: number,
      request_bytes: 29,
      response_bytes: number,
      log_bytes: 6,
      log_dropped_bytes: 0,
      mode: "sync" as const,
      attempts: 1,
      priority: 0,
      run_at: null,
      version: fn.version,
      contract: "files" as const,
      parent_id: null,
      replay_of: null,
      schedule_id: null,
      chain_depth: 0,
      callback_url: null,
      key_id: null,
      undelivered: null,
      trace_id: null,
      parent_span_id: null,
      trace_flags: null,
      tracestate: null,
      created_at: expect.stringMatching(/Z$/),
      finished_at: expect.stringMatching(/Z$/),
    });
    expect(Date.parse(invocation.finished_at ?? "")).toBeGreaterThanOrEqual(Date.parse(invocation.created_at));
  });

  test("GET /v1/invocations/:id shows why a call failed", async () => {
    expect(expectSuccess(await server.api("GET", `/v1/invocations/${ids[2]}`))).toMatchObject({
      status: "failed",
      reason: "function_failed",
      exit_code: 3,
      message: expect.stringContaining("code 3"),
    });
  });

  test("GET /v1/invocations/:id answers 404 for an unknown id", async () => {
    expectError(await server.api("GET", "/v1/invocations/unknown"), {
      status: 404,
      reason: "not_found",
      message: 'No invocation "unknown": GET /v1/invocations lists those that are kept',
    });
  });
});

describe("GET /v1/invocations/:id/logs", () => {
  test("GET /v1/invocations/:id/logs shows what the function printed", async () => {
    expect(expectSuccess(await server.api("GET", `/v1/invocations/${ids[0]}/logs`))).toEqual({
      entries: [{ stream: "stdout", text: "hello\n", time: expect.stringMatching(/^\d{4}-.*Z$/) }],
      dropped_bytes: 0,
    });
  });

  test("GET /v1/invocations/:id/logs answers [] when it printed nothing", async () => {
    const logs = expectSuccess(await server.api("GET", `/v1/invocations/${ids[3]}/logs`));
    expect(logs).toEqual({ entries: [], dropped_bytes: 0 });
  });

  test("GET /v1/invocations/:id/logs answers 404 for an unknown id", async () => {
    expectError(await server.api("GET", "/v1/invocations/unknown/logs"), { status: 404, reason: "not_found" });
  });
});

test("DELETE /v1/functions/:id keeps the records of its calls", async () => {
  await server.api("DELETE", `/v1/functions/${other.id}`);
  expect(await listed(`?function_id=${other.id}`)).toEqual(ids.slice(3));
});
