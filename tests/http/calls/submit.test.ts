import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { NewKey } from "../../../lib/domain/keys.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import type { GivenRouteOptions } from "../../../lib/domain/routes/options.ts";
import type { Route } from "../../../lib/domain/routes/routes.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

// B1 and B3: what strangers can have the server keep, and what they learn.

const HOOK = "https://hooks.example.com/services/T0/secret?token=1";
const HIDDEN = "https://hooks.example.com/***";
const MIB = 1024 * 1024;
let server: TestServer;
let fn: Function;
const tokens: Record<string, string> = {};

beforeAll(async () => {
  server = await TestServer.start({ QUEUE_BYTES: "4MiB" });
  fn = await server.createFunction(await fixture("static"), { callback_url: HOOK, labels: { callback_url: HOOK } });
  for (const scope of ["admin", "deploy", "read", "invoke"] as const) {
    const created = await server.api<NewKey>("POST", "/v1/keys", { name: scope, scopes: [scope] });
    tokens[scope] = expectSuccess(created, 201).token;
  }
});

afterAll(() => server[Symbol.asyncDispose]());

function asKey(scope: string): Record<string, string> {
  return { authorization: `Bearer ${tokens[scope]}` };
}

async function createRoute(path: string, options: GivenRouteOptions): Promise<Route> {
  return expectSuccess(await server.api<Route>("POST", "/v1/routes", { path, function_id: fn.id, ...options }));
}

function callLater(path: string, headers: Record<string, string> = {}, body = '{"do":"echo"}'): Promise<Response> {
  return fetch(server.url + path, { method: "POST", body, headers: { prefer: "respond-async", ...headers } });
}

describe("A route's `async`", () => {
  test.each([
    [{}, false],
    [{ auth: "public", async: true }, true],
    [{ auth: "key" }, true],
    [{ auth: "key", async: false }, false],
  ] satisfies [GivenRouteOptions, boolean][])("of a new route with %p is %p", async (options, expected) => {
    const { id, async } = await createRoute(`/new-${crypto.randomUUID()}`, options);
    expect(async).toBe(expected);
    expect(expectSuccess(await server.api<Route>("GET", `/v1/routes/${id}`)).async).toBe(expected);
  });

  test("ends when a change makes the route public, unless the change says otherwise", async () => {
    const change = async (body: object) => {
      const { id } = await createRoute(`/opened-${crypto.randomUUID()}`, { auth: "key" });
      return expectSuccess(await server.api<Route>("PATCH", `/v1/routes/${id}`, body)).async;
    };
    expect(await change({ auth: "public" })).toBe(false);
    expect(await change({ auth: "public", async: true })).toBe(true);
    expect(await change({ methods: ["PUT"] })).toBe(true);
  });

  test("is false by default: the preference of a stranger is ignored, and nothing is kept", async () => {
    await createRoute("/public", {});
    const response = await callLater("/r/public");
    expect([response.status, response.headers.get("preference-applied")]).toEqual([200, null]);
    expect(await response.text()).toBe('{"do":"echo"}');
    const id = response.headers.get("x-request-id");
    expect((await server.invocation(String(id))).mode).toBe("sync");
    expectError(await server.api("GET", `/v1/invocations/${id}/result`), { status: 404, reason: "not_found" });
  });

  test("goes through a manifest and its export", async () => {
    const exported = async () => {
      const reply = await server.api<{ routes: Record<string, object> }>("GET", "/v1/export", undefined, {
        accept: "application/json",
      });
      return expectSuccess(reply).routes;
    };
    await createRoute("/exported-open", { async: true });
    await createRoute("/exported-keyed", { auth: "key" });
    await createRoute("/exported-closed", { auth: "key", async: false });
    expect(await exported()).toMatchObject({
      "/exported-open": { function: expect.any(String), async: true },
      "/exported-keyed": { auth: "key" },
      "/exported-closed": { auth: "key", async: false },
    });
    expect(await exported()).not.toHaveProperty(["/exported-keyed", "async"]);
  });
});

describe("The 202 of a route", () => {
  test.each(["public", "key"] as const)("with auth %p tells only id, status and created_at", async (auth) => {
    await createRoute(`/told-${auth}`, { auth, async: true });
    const response = await callLater(`/r/told-${auth}`, auth === "key" ? asKey("invoke") : {});
    expect([response.status, response.headers.get("preference-applied")]).toEqual([202, "respond-async"]);
    const { data } = (await response.json()) as { data: object }; // the envelope of the API
    expect(data).toEqual({
      id: response.headers.get("x-request-id"),
      status: "queued",
      created_at: expect.any(String),
    });
  });
});

describe("QUEUE_BYTES", () => {
  test("beyond it a call is 507 with Retry-After, and there is room again when work has ended", async () => {
    await createRoute("/full", { async: true });
    const later = `/v1/functions/${fn.id}/invoke?async=true&delay_ms=3600000`;
    const queued: string[] = [];
    const body = JSON.stringify("x".repeat(MIB - 2));
    for (let n = 0; n < 3; n++) queued.push(expectSuccess(await server.api<Invocation>("POST", later, body), 202).id);
    const response = await callLater("/r/full", {}, body);
    expect([response.status, response.headers.get("retry-after")]).toEqual([507, "10"]);
    expect(await response.json()).toMatchObject({
      reason: "storage_full",
    });
    for (const id of queued) expectSuccess(await server.api("POST", `/v1/invocations/${id}/cancel`));
    expect(await eventually(async () => (await callLater("/r/full", {}, body)).status === 202)).toBe(true);
  });
});

describe("The path of a callback URL", () => {
  test.each([
    ["read", HIDDEN],
    ["deploy", HOOK],
    ["admin", HOOK],
  ])("in what a key with the scope %p reads is %p", async (scope, expected) => {
    const { body } = await server.api<Invocation>("POST", `/v1/functions/${fn.id}/invoke?async=true`, "{}");
    const { id } = body.data;
    await createRoute(`/seen-${scope}`, {});
    const paths = [
      "/v1/functions",
      `/v1/functions/${fn.id}`,
      `/v1/functions/${fn.id}/versions`,
      `/v1/functions/${fn.id}/versions/1`,
      "/v1/routes",
      "/v1/export",
      ...(scope === "deploy" ? [] : ["/v1/invocations", `/v1/invocations/${id}`, `/v1/invocations/${id}?wait=30s`]),
    ];
    for (const path of paths) {
      const { body: reply } = await server.api("GET", path, undefined, { ...asKey(scope), accept: "application/json" });
      const text = JSON.stringify(reply.data);
      expect(text, path).toContain(`"callback_url":"${expected}"`);
      // Labels are the user's own.
      expect(text.replaceAll(`"labels":{"callback_url":"${HOOK}"}`, "").includes("/services/"), path).toBe(
        expected === HOOK,
      );
    }
    if (scope === "deploy") return;
    const callback = () =>
      server.api<{ url: string }>("GET", `/v1/invocations/${id}/callback`, undefined, asKey(scope));
    expect(await eventually(async () => (await callback()).status === 200)).toBe(true);
    expect((await callback()).body.data.url).toBe(expected);
    const events = await fetch(`${server.url}/v1/invocations/${id}/events`, { headers: asKey(scope) });
    expect(await events.text()).toContain(`"callback_url":"${expected}"`);
  });

  test("is shown to the caller that has sent it, the function's own is not", async () => {
    const invoke = (query: string) =>
      server.api<Invocation>("POST", `/v1/functions/${fn.id}/invoke?async=true${query}`, "{}", asKey("invoke"));
    expect(expectSuccess(await invoke(""), 202).callback_url).toBe(HIDDEN);
    const own = "https://example.com/mine?x=1";
    expect(expectSuccess(await invoke(`&callback_url=${encodeURIComponent(own)}`), 202).callback_url).toBe(own);
  });
});

// E7
describe("`run_at`", () => {
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);

  test.each([`${tomorrow}T02:30:00`, `${tomorrow} 02:30`, `${tomorrow}T02:30`, tomorrow])(
    "%p is refused: in which zone is not said",
    async (time) => {
      const path = `/v1/functions/${fn.id}/invoke?async=true&run_at=${encodeURIComponent(time)}`;
      expectError(await server.api("POST", path, {}), { status: 400, reason: "invalid_request" });
    },
  );
});
