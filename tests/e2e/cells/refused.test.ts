import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import type { Function, FunctionWithPool } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { expectError, expectSuccess } from "../../http/support/replies.ts";
import { EngineProxy, type Rule } from "../../support/engine-proxy.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { containersLeft, TestServer } from "../../support/server.ts";

let image: string;
let proxy: EngineProxy;
let server: TestServer;

/** An engine whose containers get another capability than the one that it takes to make a cell. */
const WITHOUT_SYS_ADMIN: Rule = ({ path }) =>
  path.startsWith("/containers/create") ? { swap: ["SYS_ADMIN", "SYS_PACCT"] } : "pass";

const REFUSED =
  /^"isolation" cannot be "cell": this engine cannot make one \(.+\); give "container" for a fresh container for each call, or "process"/;
const UNAVAILABLE =
  /^The function's isolation is "cell", and the engine cannot make one \(.+\): change the engine, or the function's "isolation"/;

beforeAll(async () => {
  image = await fixture("static");
  proxy = await EngineProxy.start((await acquireEngine()).socket);
  server = await TestServer.start({ DOCKER_HOST: proxy.host });
});

afterEach(async () => {
  proxy.use("pass");
  await ready();
  expect(await containersLeft()).toEqual([]);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

async function ready(): Promise<void> {
  expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200)).toBe(true);
}

/** Lets the engine change: connections to the one before are cut. */
async function become(rule: Rule): Promise<void> {
  proxy.use(rule);
  await ready();
}

/** Makes a call that fails, and returns the function's pool then. */
async function failedPool(fn: Function): Promise<FunctionWithPool["pool"]> {
  expect((await server.invoke(fn)).status).toBeGreaterThanOrEqual(500);
  return expectSuccess(await server.api<FunctionWithPool>("GET", `/v1/functions/${fn.id}`)).pool;
}

describe("an engine that cannot make cells", () => {
  test("is a 400 that says why, at registration, by a change and in a manifest, and the other values work", async () => {
    await become(WITHOUT_SYS_ADMIN);
    const body = { image, name: "f", isolation: "cell" };
    const refused = await server.api("POST", "/v1/functions", body);
    expectError(refused, { status: 400, reason: "invalid_request" });
    expect(refused.body.message).toMatch(REFUSED);
    expect(await server.api("GET", "/v1/functions/f")).toMatchObject({ status: 404 });
    const fn = await server.createFunction(image, { name: "f" });
    const change = await server.api("PATCH", "/v1/functions/f", { isolation: "cell" });
    expectError(change, { status: 400, reason: "invalid_request", message: refused.body.message });
    const functions = { f: { image, isolation: "cell" } };
    expectError(await server.api("POST", "/v1/apply", { manifest: { version: 1, functions } }), {
      status: 400,
      reason: "invalid_request",
      message: `Function "f": ${refused.body.message}`,
    });
    for (const isolation of ["process", "container"]) {
      expectSuccess(await server.api<Function>("PATCH", "/v1/functions/f", { isolation }));
      expect((await server.invoke(fn)).status).toBe(200);
    }
    await server.api("DELETE", "/v1/functions/f");
  });

  test("under a function that has them is a 502 with the cause in its record and its pool, never something weaker", async () => {
    const fn = await server.createFunction(image, { isolation: "cell" });
    expect(fn).toMatchObject({ isolation: "cell", max_calls: 0, scratch_bytes: null });
    expect((await server.invoke(fn)).status).toBe(200);
    await become(WITHOUT_SYS_ADMIN);
    const path = `/v1/functions/${fn.id}`;
    const reply = await server.invoke(fn);
    expect([reply.status, await reply.json()]).toMatchObject([
      502,
      { success: false, reason: "isolation_unavailable", message: expect.stringMatching(UNAVAILABLE) },
    ]);
    const id = reply.headers.get("x-request-id") ?? "";
    expect(expectSuccess(await server.api<Invocation>("GET", `/v1/invocations/${id}`))).toMatchObject({
      status: "failed",
      reason: "isolation_unavailable",
      message: expect.stringMatching(UNAVAILABLE),
    });
    // A busy server may notice only now that its connections to the engine were cut, and then forgets failed starts.
    let pool = await failedPool(fn);
    await eventually(
      async () => (pool = pool.problem === undefined ? await failedPool(fn) : pool).problem !== undefined,
    );
    expect(pool).toMatchObject({ ready: 0, problem: expect.stringMatching(UNAVAILABLE) });

    expectSuccess(await server.api("PATCH", path, { timeout_ms: 7_000 }));
    expectSuccess(await server.api("PATCH", path, { isolation: "container" }));
    expect((await server.invoke(fn)).status).toBe(200);
    expect(expectSuccess(await server.api<FunctionWithPool>("GET", path)).pool.problem).toBeUndefined();
    const rollback = await server.api("POST", `${path}/rollback`, { version: 1 });
    expectError(rollback, { status: 400, reason: "invalid_request" });
    expect(rollback.body.message).toMatch(REFUSED);

    await become(() => "pass");
    expect(expectSuccess(await server.api<Function>("POST", `${path}/rollback`, { version: 1 }))).toMatchObject({
      isolation: "cell",
      max_calls: 0,
      version: 4,
    });
    expect((await server.invoke(fn)).status).toBe(200);
    await server.api("DELETE", path);
  });
});
