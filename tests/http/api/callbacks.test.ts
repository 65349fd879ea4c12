import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { Webhook } from "standardwebhooks";
import type { Callback, CallbackSecret } from "../../../lib/domain/calls/callbacks.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { Receiver, type Received } from "../../support/receiver.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const NOWHERE = "00000000-0000-4000-8000-000000000000";

let server: TestServer;
let receiver: Receiver;

beforeAll(async () => {
  server = await TestServer.start({ CALLBACK_ALLOW: "127.0.0.1" });
  await server.createFunction(await fixture("chaos"), { name: "chaos", retry: noRetry() });
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  receiver = await Receiver.start();
});
afterEach(() => receiver[Symbol.asyncDispose]());

function noRetry(): Function["retry"] {
  return { max_attempts: 1, min_ms: 0, max_ms: 0, on: [] };
}

async function submit(body: unknown, query = ""): Promise<Invocation> {
  const path = `/v1/functions/chaos/invoke?async=true${query}`;
  return expectSuccess(await server.api<Invocation>("POST", path, body), 202);
}

const toReceiver = () => `&callback_url=${encodeURIComponent(receiver.url)}`;

function bodyOf({ body }: Received) {
  // Each test checks what it expects.
  return JSON.parse(body) as { type: string; timestamp: string; data: { invocation: Invocation; response: unknown } };
}

/** The callback of an invocation, once it has been delivered. */
async function settledCallback(id: string): Promise<Callback> {
  for (;;) {
    const reply = await server.api<Callback>("GET", `/v1/invocations/${id}/callback`);
    if (reply.status === 200 && reply.body.data.attempts > 0) return reply.body.data;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("callback_url of a call", () => {
  test("gets the result, signed with the server's secret", async () => {
    const { id, callback_url } = await submit({ do: "echo", n: 1 }, toReceiver());
    expect(callback_url).toBe(receiver.url);
    const received = await receiver.get(1);
    const { secret } = expectSuccess(await server.api<CallbackSecret>("GET", "/v1/callbacks/secret"));
    const headers = received.headers as Record<string, string>; // none comes twice
    expect(new Webhook(secret).verify(received.body, headers)).toMatchObject({ type: "invocation.succeeded" });
    expect(headers["webhook-id"]).toBe(id);
    const { data, timestamp } = bodyOf(received);
    expect(data.response).toEqual({ do: "echo", n: 1 });
    expect(data.invocation).toEqual(await server.invocation(id));
    expect(timestamp).toBe(data.invocation.finished_at ?? "");
    expect(await settledCallback(id)).toEqual({
      invocation_id: id,
      url: receiver.url,
      state: "delivered",
      attempts: 1,
      next_at: null,
      last_status: 204,
      last_problem: null,
      created_at: TIME,
      delivered_at: TIME,
    });
  });

  test("gets the result of dead invocations, and of those cancelled while running", async () => {
    await submit({ do: "exit", code: 3 }, toReceiver());
    expect(bodyOf(await receiver.get(1))).toMatchObject({
      type: "invocation.dead",
      data: { invocation: { reason: "function_failed", exit_code: 3 }, response: null },
    });
    const { id } = await submit({ do: "sleep" }, toReceiver());
    expectSuccess(await server.api("POST", `/v1/invocations/${id}/cancel`));
    expect(bodyOf(await receiver.get(2))).toMatchObject({ type: "invocation.cancelled", data: { invocation: { id } } });
  });

  test("gets the result of an invocation that was cancelled before it ran", async () => {
    const { id } = await submit({ do: "sleep" }, `${toReceiver()}&delay_ms=100000`);
    expectSuccess(await server.api("POST", `/v1/invocations/${id}/cancel`));
    expect(bodyOf(await receiver.get(1))).toMatchObject({ type: "invocation.cancelled", data: { invocation: { id } } });
  });

  test.each([
    ["http://10.0.0.1/", "10.0.0.1 is not a public address; whoever runs the server may allow it with CALLBACK_ALLOW"],
    ["http://2130706434/", "127.0.0.2 is not a public address"],
    ["http://[::ffff:a00:1]/", "::ffff:a00:1 is not a public address"],
    ["ftp://example.com/", "give a URL such as https://example.com/hook"],
    ["https://me:secret@example.com/", "it has credentials: put a token into its path or query"],
  ])("answers 400 to %s", async (url, problem) => {
    const path = `/v1/functions/chaos/invoke?async=true&callback_url=${encodeURIComponent(url)}`;
    const reply = await server.api("POST", path, {});
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith(`Invalid "callback_url": ${problem}`);
  });
});

describe("callback_url of a function", () => {
  test("applies to every asynchronous call, and to no synchronous one", async () => {
    const name = "caller";
    await server.createFunction(await fixture("chaos"), { name, callback_url: receiver.url });
    expect((await server.invoke({ id: name }, { do: "echo" })).status).toBe(200);
    const reply = await server.api<Invocation>("POST", `/v1/functions/${name}/invoke?async=true`, { do: "echo" });
    const { id } = expectSuccess(reply, 202);
    expect((await receiver.get(1)).headers["webhook-id"]).toBe(id);
    expect(receiver.received).toHaveLength(1);
    expectSuccess(await server.api("PATCH", `/v1/functions/${name}`, { callback_url: null }));
    const after = await server.api<Invocation>("POST", `/v1/functions/${name}/invoke?async=true`, { do: "echo" });
    expect(expectSuccess(after, 202).callback_url).toBeNull();
    await server.api("DELETE", `/v1/functions/${name}`);
  });

  test.each(["http://192.168.0.1/", "http://0x7f.2/", "http://169.254.169.254/latest/meta-data", "nowhere", ""])(
    "POST and PATCH answer 400 to %j",
    async (callback_url) => {
      const replies = [
        await server.api("POST", "/v1/functions", { image: "does-not/matter", callback_url }),
        await server.api("PATCH", "/v1/functions/chaos", { callback_url }),
      ];
      for (const reply of replies) {
        expectError(reply, { status: 400, reason: "invalid_request" });
        expect(reply.body.message).toStartWith('Invalid "callback_url"');
      }
    },
  );
});

describe("GET and POST /v1/invocations/:id/callback", () => {
  const path = (id: string) => `/v1/invocations/${id}/callback`;

  test("GET shows the problem, and POST sends it again, one at a time", async () => {
    receiver.answer = 410;
    const { id } = await submit({ do: "echo" }, toReceiver());
    expect(await settledCallback(id)).toMatchObject({
      state: "failed",
      attempts: 1,
      next_at: null,
      delivered_at: null,
      last_status: 410,
      last_problem: "It was answered with 410",
    });
    receiver.answer = 503;
    expect(expectSuccess(await server.api<Callback>("POST", path(id)))).toMatchObject({
      state: "waiting",
      attempts: 0,
    });
    expect(await settledCallback(id)).toMatchObject({ state: "waiting", attempts: 1, next_at: TIME, last_status: 503 });
    const refused = await server.api("POST", path(id));
    expectError(refused, { status: 409, reason: "conflict" });
    expect(refused.body.message).toStartWith("The callback waits for its next attempt already, at ");
  });

  test("both answer 404 if there is none", async () => {
    const { id } = await submit({ do: "echo" });
    const { id: delayed } = await submit({ do: "echo" }, `${toReceiver()}&delay_ms=100000`);
    for (const [one, message] of [
      [NOWHERE, `No invocation "${NOWHERE}"`],
      [id, `The invocation "${id}" has no "callback_url": give one with the call, or with its function, before`],
      [delayed, `The invocation "${delayed}" is queued: its result is sent when it has one`],
    ] as const) {
      const shown = await server.api("GET", path(one));
      expectError(shown, { status: 404, reason: "not_found", message });
      expectError(await server.api("POST", path(one)), { status: 404, reason: "not_found" });
    }
  });

  test("other methods answer 405", async () => {
    const reply = await server.api("DELETE", path(NOWHERE));
    expectError(reply, { status: 405, reason: "method_not_allowed" });
    expect(reply.headers.get("allow")).toBe("GET, HEAD, POST");
  });
});

describe("/v1/callbacks/secret", () => {
  test("GET shows the secret, and POST /rotate replaces it", async () => {
    const before = expectSuccess(await server.api<CallbackSecret>("GET", "/v1/callbacks/secret"));
    expect(expectSuccess(await server.api<CallbackSecret>("GET", "/v1/callbacks/secret"))).toEqual(before);
    const after = expectSuccess(await server.api<CallbackSecret>("POST", "/v1/callbacks/secret/rotate"));
    expect(after.secret).toMatch(/^whsec_/);
    expect(after.secret).not.toBe(before.secret);
    expect(after.previous_until).toEqual(TIME);
    expect(expectSuccess(await server.api<CallbackSecret>("GET", "/v1/callbacks/secret"))).toEqual(after);
    await submit({ do: "echo" }, toReceiver());
    const { body, headers } = await receiver.get(1);
    for (const { secret } of [before, after]) new Webhook(secret).verify(body, headers as Record<string, string>); // none comes twice
  });
});
