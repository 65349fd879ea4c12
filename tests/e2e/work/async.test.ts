import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Attempt } from "../../../lib/domain/calls/attempts.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationLogs } from "../../../lib/domain/calls/invocations.ts";
import type { KeptRequest } from "../../../lib/domain/calls/views/kept-requests.ts";
import { expectError, expectSuccess } from "../../http/support/replies.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";

/** Retries without a wait. */
const AT_ONCE = { min_ms: 0, max_ms: 0, on: ["crash", "timeout", "non_zero_exit", "oom", "engine"] as const };

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start();
  image = await fixture("chaos");
  const { id } = await server.createFunction(image, {
    name: "chaos",
    retry: { ...AT_ONCE, on: [...AT_ONCE.on], max_attempts: 2 },
  });
  expectSuccess(await server.api("POST", "/v1/routes", { path: "/chaos", function_id: id, async: true }));
});
afterAll(() => server[Symbol.asyncDispose]());

/** Submits a call and returns the record in its 202. */
async function submit(body: unknown, options: { query?: string; headers?: Record<string, string>; to?: string } = {}) {
  const { query = "", headers = {}, to = "chaos" } = options;
  const path = `/v1/functions/${to}/invoke?async=true${query}`;
  return expectSuccess(await server.api<Invocation>("POST", path, body, headers), 202);
}

async function ended(id: string): Promise<Invocation> {
  for (;;) {
    const record = await invocation(id, "?wait=30s");
    if (record.status !== "queued" && record.status !== "running") return record;
  }
}

async function invocation(id: string, query = ""): Promise<Invocation> {
  return expectSuccess(await server.api<Invocation>("GET", `/v1/invocations/${id}${query}`));
}

async function requestOf(id: string): Promise<KeptRequest> {
  return expectSuccess(await server.api<KeptRequest>("GET", `/v1/invocations/${id}/request`));
}

async function attemptsOf(id: string): Promise<string[]> {
  const attempts = expectSuccess(await server.api<Attempt[]>("GET", `/v1/invocations/${id}/attempts`));
  return attempts.map(({ attempt, status, reason }) => `${attempt} ${status} ${reason ?? ""}`.trim());
}

/** Registers a function that is a shell script. */
function shell(script: string, settings: Partial<Function> = {}) {
  return server.createFunction(image, { entrypoint: ["/bin/sh", "-c"], command: [script], ...settings });
}

/** Reads server-sent events until the stream ends. */
async function eventsOf(id: string, lastEventId = "") {
  const headers = { "Last-Event-ID": lastEventId };
  const text = await (await fetch(`${server.url}/v1/invocations/${id}/events`, { headers })).text();
  return text
    .split("\n\n")
    .filter((block) => block.startsWith("event:"))
    .map((block) => {
      const [, event = "", data = ""] = /^event: (.*)\ndata: (.*)$/m.exec(block) ?? [];
      return { event, data: JSON.parse(data) as { status?: string; entries?: { text: string }[] } };
    });
}

/** Waits until the function has printed something, and returns what came until then. */
async function printed(id: string): Promise<string> {
  const response = await fetch(`${server.url}/v1/invocations/${id}/events`);
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (/event: log\n.*\n.*\n\n/.test(text)) return text;
  }
  return text;
}

describe("an asynchronous call", () => {
  test("answers 202 at once, runs, and keeps its result and its logs", async () => {
    const { id, status } = await submit({ do: "log", text: "greeted\n" });
    expect(status).toBe("queued");
    expect(await ended(id)).toMatchObject({ status: "succeeded", mode: "async", attempts: 1, exit_code: 0 });
    const result = await fetch(`${server.url}/v1/invocations/${id}/result`);
    expect([result.status, result.headers.get("x-function-exit-code")]).toEqual([200, "0"]);
    expect(await result.json()).toEqual({ logged: 8 });
    const logs = expectSuccess(await server.api<InvocationLogs>("GET", `/v1/invocations/${id}/attempts/1/logs`));
    expect(logs.entries).toEqual([{ stream: "stdout", text: "greeted\n", time: expect.any(String) }]);
    expect(expectSuccess(await server.api<InvocationLogs>("GET", `/v1/invocations/${id}/logs`))).toEqual(logs);
  });

  test("on a route is requested by Prefer, and returns where to look", async () => {
    const response = await fetch(`${server.url}/r/chaos?x=1`, {
      method: "POST",
      body: '{"do":"echo","n":12345678901234567890}',
      headers: { Prefer: "respond-async" },
    });
    expect(response.status).toBe(202);
    expect(response.headers.get("preference-applied")).toBe("respond-async");
    const { data } = (await response.json()) as { data: Invocation };
    expect(response.headers.get("location")).toBe(`/v1/invocations/${data.id}`);
    expect(response.headers.get("x-request-id")).toBe(data.id);
    await ended(data.id);
    expect(await (await fetch(`${server.url}/v1/invocations/${data.id}/result`)).text()).toBe(
      '{"do":"echo","n":12345678901234567890}',
    );
  });

  test("is retried while attempts are left, and dead after the last one", async () => {
    const { id } = await submit({ do: "exit", code: 3 });
    expect(await ended(id)).toMatchObject({ status: "dead", reason: "function_failed", exit_code: 3, attempts: 2 });
    expect(await attemptsOf(id)).toEqual(["1 failed function_failed", "2 failed function_failed"]);
    const dead = expectSuccess(await server.api<{ invocations: Invocation[] }>("GET", "/v1/invocations?status=dead"));
    expect(dead.invocations.map((one) => one.id)).toContain(id);
    expectError(await server.api("GET", `/v1/invocations/${id}/result`), { status: 502, reason: "function_failed" });
  });

  test.each([
    ["crash", { do: "signal", signal: 9 }, {}, "function_failed"],
    ["timeout", { do: "sleep" }, { timeout_ms: 300 }, "function_timeout"],
    ["oom", { do: "hog_memory" }, { memory_bytes: 32 * 1024 * 1024 }, "out_of_memory"],
  ] as const)("is tried again after a %s", async (_, body, settings, reason) => {
    const retry = { ...AT_ONCE, on: [...AT_ONCE.on], max_attempts: 2 };
    const fn = await server.createFunction(image, { ...settings, retry });
    const { id } = await submit(body, { to: fn.id });
    expect(await ended(id)).toMatchObject({ status: "dead", reason, attempts: 2 });
  });

  test("is not retried if the function refuses, and later if it asks for that", async () => {
    const no = await shell(`echo '{"retry":false}' > $CONTEXT_PATH/response.meta.json; exit 1`);
    const { id } = await submit({}, { to: no.id });
    expect(await ended(id)).toMatchObject({ status: "dead", attempts: 1 });
    const later = await shell(`echo '{"retry_after_ms":3600000}' > $CONTEXT_PATH/response.meta.json; exit 1`);
    const waiting = await submit({}, { to: later.id });
    const isBack = async () => {
      const { status, attempts } = await invocation(waiting.id);
      return status === "queued" && attempts === 1;
    };
    expect(await eventually(isBack, 20_000)).toBe(true);
    const { run_at } = await invocation(waiting.id);
    expect(Date.parse(run_at ?? "") - Date.now()).toBeGreaterThan(3_500_000);
    expectSuccess(await server.api("POST", `/v1/invocations/${waiting.id}/cancel`));
  });

  test("with the same Idempotency-Key returns the first one, and another body is refused", async () => {
    const headers = { "Idempotency-Key": "order-17" };
    const first = await submit({ do: "echo", order: 17 }, { headers });
    const again = await submit({ do: "echo", order: 17 }, { headers });
    expect(again.id).toBe(first.id);
    const other = await server.api("POST", "/v1/functions/chaos/invoke?async=true", { order: 18 }, headers);
    expectError(other, { status: 422, reason: "idempotency_mismatch" });
    await ended(first.id);
  });

  test("can be delayed, and cancelled before it runs", async () => {
    const { id, run_at } = await submit({ do: "echo" }, { query: "&delay_ms=3600000" });
    expect(Date.parse(run_at ?? "") - Date.now()).toBeGreaterThan(3_500_000);
    const cancelled = expectSuccess(await server.api<Invocation>("POST", `/v1/invocations/${id}/cancel`));
    expect(cancelled).toMatchObject({ status: "cancelled", attempts: 0 });
    expectError(await server.api("POST", `/v1/invocations/${id}/cancel`), { status: 409, reason: "conflict" });
    expect(await attemptsOf(id)).toEqual([]);
  });

  test("is cancelled while it runs: the function is killed at once and not retried", async () => {
    const { id } = await submit({ do: "ignore_term" });
    await printed(id);
    const cancelled = expectSuccess(await server.api<Invocation>("POST", `/v1/invocations/${id}/cancel`));
    expect(cancelled).toMatchObject({ status: "cancelled", attempts: 1 });
    expect(await attemptsOf(id)).toEqual(["1 cancelled cancelled"]);
  });

  test("can be followed: states and log lines as they happen, then the end", async () => {
    const fn = await shell("for i in 1 2 3; do echo line $i; sleep 0.5; done");
    // Long enough to be followed from before it runs.
    const { id } = await submit({}, { to: fn.id, query: "&delay_ms=1500" });
    const events = await eventsOf(id);
    const states = events.flatMap(({ event, data }) => (event === "state" ? [data.status] : []));
    expect(states).toEqual(["queued", "running", "succeeded"]);
    const printed = events.flatMap(({ event, data }) => (event === "log" ? (data.entries ?? []) : []));
    expect(printed.map(({ text }) => text).join("")).toBe("line 1\nline 2\nline 3\n");
    expect(printed.length).toBeGreaterThan(1);
    expect(events.at(-1)?.event).toBe("end");
    // A late follower gets a summary.
    expect((await eventsOf(id)).map(({ event }) => event)).toEqual(["state", "log", "end"]);
  });

  // E6
  test("has logs and events of what was printed before, and goes on after Last-Event-ID", async () => {
    const fn = await shell("echo early; echo more >&2; sleep 300");
    const { id } = await submit({}, { to: fn.id });
    await printed(id);
    const logs = async () => expectSuccess(await server.api<InvocationLogs>("GET", `/v1/invocations/${id}/logs`));
    await eventually(async () => (await logs()).entries.length === 2);
    const { entries } = await logs();
    expect(entries.find(({ stream }) => stream === "stdout")?.text).toBe("early\n");
    for (const { time } of entries) expect(Math.abs(Date.now() - Date.parse(time ?? ""))).toBeLessThan(60_000);
    // One that comes late has it, too, and is told where it is.
    const late = await printed(id);
    expect(late).toContain("early\\n");
    const position = /^id: (1-6-5)$/m.exec(late)?.[1];
    expect(position).toBe("1-6-5");
    expectSuccess(await server.api("POST", `/v1/invocations/${id}/cancel`));
    // The end is read from the store: nothing comes twice.
    expect((await eventsOf(id, position)).map(({ event }) => event)).toEqual(["state", "end"]);
    const rest = (await eventsOf(id, "1-2-5")).flatMap(({ data }) => data.entries ?? []);
    expect(rest.map(({ text }) => text)).toEqual(["rly\n"]);
    expect((await eventsOf(id, "nonsense")).map(({ event }) => event)).toEqual(["state", "log", "end"]);
  });

  test("can be replayed, one by one or all that are dead, each once", async () => {
    const fn = await server.createFunction(image, { retry: { ...AT_ONCE, on: [], max_attempts: 1 } });
    const dead = await Promise.all([1, 2, 3].map((n) => submit({ do: "exit", code: n }, { to: fn.id })));
    for (const { id } of dead) expect((await ended(id)).status).toBe("dead");
    const [first] = dead;
    const one = expectSuccess(await server.api<Invocation>("POST", `/v1/invocations/${first?.id}/replay`), 202);
    expect(one).toMatchObject({ replay_of: first?.id, status: "queued" });
    const bulk = { status: "dead", function_id: fn.id };
    const all = expectSuccess(
      await server.api<{ invocations: Invocation[]; left: number }>("POST", "/v1/invocations/replay", bulk),
      202,
    );
    for (const { id } of [one, ...all.invocations]) expect((await ended(id)).exit_code).not.toBeNull();
    const replayed = all.invocations.map(({ replay_of }) => replay_of);
    for (const { id } of dead.slice(1)) expect(replayed).toContain(id);
    expect(replayed).not.toContain(first?.id);
    // Invocations of a deleted function cannot be replayed, and do not prevent the replay of others.
    const lost = await submit({ do: "exit", code: 4 }, { to: fn.id });
    expect((await ended(lost.id)).status).toBe("dead");
    expectSuccess(await server.api("DELETE", `/v1/functions/${fn.id}`));
    expectError(await server.api("POST", `/v1/invocations/${lost.id}/replay`), { status: 404, reason: "not_found" });
    const rest = await server.api<{ invocations: Invocation[] }>("POST", "/v1/invocations/replay", { status: "dead" });
    const others = expectSuccess(rest, 202).invocations;
    expect(others.map(({ replay_of }) => replay_of)).not.toContain(lost.id);
    for (const { id } of others) await ended(id);
  });
});

describe("a synchronous call", () => {
  test("keeps its request and its result if the function says so, and can be replayed", async () => {
    const fn = await server.createFunction(image, { record_bodies: true });
    const response = await server.invoke(fn, { do: "echo", n: 1 });
    const id = response.headers.get("x-request-id") ?? "";
    expect(await (await fetch(`${server.url}/v1/invocations/${id}/result`)).json()).toEqual({ do: "echo", n: 1 });
    expect(await requestOf(id)).toMatchObject({ method: "POST", body: '{"do":"echo","n":1}', body_bytes: 19 });
    const replay = expectSuccess(await server.api<Invocation>("POST", `/v1/invocations/${id}/replay`), 202);
    expect(await ended(replay.id)).toMatchObject({ status: "succeeded", mode: "async", replay_of: id });
  });

  test("keeps neither otherwise", async () => {
    const response = await server.invoke({ id: "chaos" }, { do: "echo" });
    const id = response.headers.get("x-request-id") ?? "";
    expectError(await server.api("GET", `/v1/invocations/${id}/result`), { status: 404, reason: "not_found" });
    expectError(await server.api("GET", `/v1/invocations/${id}/request`), {
      status: 404,
      reason: "not_found",
      message: `The request of invocation "${id}" was not kept: it was synchronous: set the function's "record_bodies" to keep requests from now on`,
    });
    expectError(await server.api("POST", `/v1/invocations/${id}/replay`), { status: 404, reason: "not_found" });
    expectError(await server.api("POST", `/v1/invocations/${id}/cancel`), { status: 409, reason: "conflict" });
  });
});

// EDGE.md E9.
describe("credentials of callers", () => {
  const CREDENTIALS = { authorization: "Bearer s3cret", cookie: "session=s3cret", "x-auth-token": "s3cret" };

  /** The headers that a function on a public route is told of, called in both ways. */
  async function told(settings: Partial<Function>) {
    const script = 'cat "$CONTEXT_PATH/request.meta.json" > "$CONTEXT_PATH/response.json"';
    const fn = await shell(script, { record_bodies: true, ...settings });
    const path = `/told-${fn.id}`;
    expectSuccess(await server.api("POST", "/v1/routes", { path, function_id: fn.id, async: true }));
    const call = (headers: Record<string, string>) =>
      fetch(`${server.url}/r${path}`, { method: "POST", body: "{}", headers: { ...CREDENTIALS, ...headers } });
    const sync = await call({});
    const queued = await call({ prefer: "respond-async" });
    const { data } = (await queued.json()) as { data: Invocation };
    await ended(data.id);
    const first = sync.headers.get("x-request-id") ?? "";
    const replay = expectSuccess(await server.api<Invocation>("POST", `/v1/invocations/${first}/replay`), 202);
    await ended(replay.id);
    const resultOf = async (id: string) => (await fetch(`${server.url}/v1/invocations/${id}/result`)).text();
    const shown = await requestOf(data.id);
    expect(shown.headers).toHaveProperty("user-agent");
    return { sync: await sync.text(), async: await resultOf(data.id), replayed: await resultOf(replay.id), shown };
  }

  test("reach a synchronous call, and are not stored", async () => {
    const { sync, async: queued, replayed } = await told({});
    for (const value of Object.values(CREDENTIALS)) expect(sync).toContain(value);
    for (const text of [queued, replayed]) expect(text).not.toContain("s3cret");
    expect(queued).toContain('"user-agent"');
  });

  test("are stored if the function asks for them", async () => {
    const { async: queued, replayed, shown } = await told({ store_credentials: true });
    for (const value of Object.values(CREDENTIALS)) {
      expect(queued).toContain(value);
      expect(replayed).toContain(value);
      expect(JSON.stringify(shown)).not.toContain(value);
    }
  });
});

// EDGE.md E8.
test("a queued call runs the version that is current when its attempt begins", async () => {
  const script = 'printf \'{"step":"%s"}\' "$STEP" > "$CONTEXT_PATH/response.json"';
  const { id: to } = await shell(script, { environment: { STEP: "1" } });
  const { id } = await submit({}, { to, query: "&delay_ms=60000" });
  const soon = await submit({}, { to, query: "&delay_ms=1000" });
  await server.api("PATCH", `/v1/functions/${to}`, { environment: { STEP: "2" } });
  expect(await ended(soon.id)).toMatchObject({ status: "succeeded", version: 2 });
  expect(await (await fetch(`${server.url}/v1/invocations/${soon.id}/result`)).json()).toEqual({ step: "2" });
  expectSuccess(await server.api("POST", `/v1/invocations/${id}/cancel`));
});

describe("asynchronous calls refuse", () => {
  test.each([
    ["&delay_ms=-1", 'Invalid "delay_ms" "-1": give a whole number from 0 to'],
    ["&delay_ms=1&run_at=2030-01-01T00:00:00Z", 'Both "delay_ms" and "run_at" were given'],
    ["&run_at=tomorrow", 'Invalid "run_at" "tomorrow": give a time within a year'],
    // EDGE.md E7.
    [
      "&run_at=2026-12-01T12:00:00",
      'Invalid "run_at" "2026-12-01T12:00:00": it does not say how far it is from UTC; give a time within a year',
    ],
    ["&priority=1000", 'Invalid "priority" "1000": give a whole number from -100 to 100'],
    ["&callback_url=ftp://x", 'Invalid "callback_url": give a URL'],
    ["&later=1", 'Unknown query parameter "later"'],
  ])("%s", async (query, message) => {
    const reply = await server.api("POST", `/v1/functions/chaos/invoke?async=true${query}`, {});
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toContain(message);
  });

  test("options of asynchronous calls on synchronous ones, and a wait that is too long", async () => {
    const sync = await server.api("POST", "/v1/functions/chaos/invoke?delay_ms=5", {});
    expectError(sync, { status: 400, reason: "invalid_request" });
    expect(sync.body.message).toContain('"delay_ms" is for asynchronous calls only');
    const { id } = await submit({ do: "echo" });
    for (const wait of ["61s", "soon", "-1s"])
      expectError(await server.api("GET", `/v1/invocations/${id}?wait=${wait}`), {
        status: 400,
        reason: "invalid_request",
      });
    await ended(id);
    const none = "00000000-0000-4000-8000-000000000000";
    for (const path of ["result", "events", "attempts", "attempts/1/logs"])
      expectError(await server.api("GET", `/v1/invocations/${none}/${path}`), { status: 404, reason: "not_found" });
    expectError(await server.api("GET", `/v1/invocations/${id}/attempts/9/logs`), { status: 404, reason: "not_found" });
    expectError(await server.api("GET", `/v1/invocations/${id}/attempts/x/logs`), {
      status: 400,
      reason: "invalid_request",
    });
  });
});
