import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { parseMetrics, total } from "../support/metrics-text.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const PROBLEM =
  "The Docker Engine cannot be reached (ping): its socket does not exist. Start it, or point DOCKER_HOST at it.";

describe("with an engine", () => {
  test("GET /healthz and GET /readyz answer 200", async () => {
    await using server = await TestServer.start();
    const health = await fetch(`${server.url}/healthz`);
    expect([health.status, await health.json()]).toEqual([200, { status: "ok" }]);
    // The server listens before it asks the engine.
    let ready = await fetch(`${server.url}/readyz`);
    await eventually(async () => ready.ok || (ready = await fetch(`${server.url}/readyz`)).ok, 2_000);
    expect([ready.status, await ready.json()]).toEqual([
      200,
      { ready: true, engine: { ok: true, problem: null }, database: { ok: true, problem: null } },
    ]);
    expect(ready.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("without an engine", () => {
  let directory: string;
  let server: TestServer;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "slipway-status-"));
    {
      await using before = await TestServer.start({ DATA_PATH: directory });
      const { id } = await before.createFunction(await fixture("static"), { name: "stranded" });
      await before.createRoute("/stranded", id);
    }
    server = await TestServer.start({ DATA_PATH: directory, DOCKER_HOST: `unix://${directory}/docker.sock` });
  });

  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  test("GET /healthz answers 200", async () => {
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });

  test("GET /readyz answers 503 with the cause and how to fix it", async () => {
    const response = await fetch(`${server.url}/readyz`);
    expect([response.status, await response.json()]).toEqual([
      503,
      { ready: false, engine: { ok: false, problem: PROBLEM }, database: { ok: true, problem: null } },
    ]);
  });

  test("stored records can be read and changed", async () => {
    expect(expectSuccess(await server.api<unknown[]>("GET", "/v1/functions"))).toHaveLength(1);
    expect(expectSuccess(await server.api<unknown[]>("GET", "/v1/routes"))).toHaveLength(1);
    expectSuccess(await server.api("PATCH", "/v1/functions/stranded", { timeout_ms: 1000 }));
  });

  test.each([
    ["POST", "/v1/functions", { image: "debian:bookworm" }],
    ["PATCH", "/v1/functions/stranded", { image: "debian:bookworm" }],
    ["POST", "/v1/functions/stranded/pull", undefined],
    ["POST", "/v1/functions/stranded/invoke", {}],
    ["POST", "/r/stranded", {}],
  ])("%s %s answers 503 with Retry-After", async (method, path, body) => {
    const reply = await server.api(method, path, body);
    expectError(reply, { status: 503, reason: "engine_unavailable" });
    expect(reply.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
    // Strangers do not learn what the server runs on.
    const words = path.startsWith("/r/")
      ? "Functions cannot be run now: try again"
      : "The Docker Engine cannot be reached";
    expect(reply.body.message).toStartWith(words);
    expect(reply.body.message).not.toContain(directory);
  });

  test("GET /metrics says that the engine is away", async () => {
    const families = parseMetrics(await (await fetch(`${server.url}/metrics`)).text());
    expect(total(families, "slipway_engine_up")).toBe(0);
    expect(families.get("slipway_engine_up")?.samples).toHaveLength(1);
  });
});
