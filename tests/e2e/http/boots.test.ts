import { afterAll, beforeAll, expect, test } from "bun:test";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import type { Boot } from "../../../lib/domain/calls/boots.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture, imageWith } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { containersBecome, containersOf, full, pool } from "../pool/pools.ts";
import { call, register } from "./pooled-app.ts";

let engine: Engine;
let server: TestServer;

beforeAll(async () => {
  engine = await acquireEngine();
  server = await TestServer.start({ WARM_MAX: "1" });
});

afterAll(() => server[Symbol.asyncDispose]());

async function bootOf({ id }: Pick<Function, "id">): Promise<Boot> {
  const { status, body } = await server.api<Boot>("GET", `/v1/functions/${id}/boot`);
  expect(status).toBe(200);
  return body.data;
}

test("POST /v1/functions boots a function once: the instance is ready for its first call, and its boot is shown", async () => {
  await using fn = await register(server);
  expect(fn.warnings).toBeUndefined();
  const boot = await bootOf(fn);
  expect(boot).toMatchObject({ version: 1, problem: null, boot_ms: expect.any(Number) });
  expect(boot.logs.map(({ text }) => text).join("")).toBe("starting\n");
  const state = await full(server, fn, 1);
  expect(state).toMatchObject({ booting: 0, streams: 0 });
  const response = await server.invoke(fn);
  expect(response.headers.get("server-timing")).toContain("desc=warm");
});

test("POST /v1/functions warns of a function that exits, and the pool, the boot and its calls say so too", async () => {
  await using fn = await register(server, { environment: { FAIL: "1" } });
  const [warning = ""] = fn.warnings ?? [];
  expect(warning).toContain("no DATABASE_URL");
  expect(warning).toContain("3");
  expect((await pool(server, fn, ({ problem }) => problem !== undefined)).problem).toContain("no DATABASE_URL");
  const boot = await bootOf(fn);
  expect(boot).toMatchObject({ boot_ms: null, problem: expect.stringContaining("no DATABASE_URL") });
  expect(boot.logs.map(({ text }) => text).join("")).toBe("no DATABASE_URL\n");
  const response = await server.invoke(fn);
  expect([response.status, await response.json()]).toEqual([502, expect.objectContaining({ reason: "boot_failed" })]);
  // The variable was what was missing.
  const changed = await server.api<{ warnings?: string[] }>("PATCH", `/v1/functions/${fn.id}`, { environment: {} });
  expect([changed.status, changed.body.data.warnings]).toEqual([200, undefined]);
  expect((await call(server, fn)).call).toBe(1);
});

test("PATCH /v1/functions/:id warns of a port on which nothing listens, and says which port does", async () => {
  await using fn = await register(server, { max_calls: 0 });
  // One that listens long before the time is up, however busy the machine.
  const command = ["sh", "-c", "exec httpd -f -p 3000 -h /tmp"];
  const change = { port: 9999, boot_timeout_ms: 1_000, command };
  const changed = await server.api<{ warnings?: string[] }>("PATCH", `/v1/functions/${fn.id}`, change);
  const [warning = ""] = changed.body.data.warnings ?? [];
  expect([changed.status, warning]).toEqual([200, expect.stringContaining("3000")]);
  const response = await server.invoke(fn);
  expect([response.status, await response.json()]).toEqual([504, expect.objectContaining({ reason: "boot_timeout" })]);
});

test("POST /v1/functions with probe false does not wait for the boot", async () => {
  await using fn = await register(server, { environment: { FAIL: "1" }, probe: false });
  expect(fn.warnings).toBeUndefined();
  // The boot is under way, and has its end before that of the function.
  expect((await pool(server, fn, ({ problem }) => problem !== undefined)).problem).toContain("no DATABASE_URL");
});

test("an image that exposes a port is a server if it listens, and made for `files` if it ends", async () => {
  const listens = `Bun.serve({ port: 7000, hostname: "0.0.0.0", fetch: () => new Response("hello") })`;
  const base = await fixture("bun");
  const cmd = (...words: string[]) => `CMD ${JSON.stringify(words)}`;
  const one = await imageWith(engine, base, "EXPOSE 7000", cmd("bun", "-e", listens));
  const two = await imageWith(engine, base, "EXPOSE 7000", cmd("bun", "function.ts"));
  try {
    const web = await server.createFunction(one);
    expect(web).toMatchObject({ contract: "http", contract_reason: "exposed_port", port: 7000 });
    expect(await (await server.invoke(web)).text()).toBe("hello");
    const files = await server.createFunction(two);
    expect(files).toMatchObject({ contract: "files", contract_reason: "ended" });
    expect([web.warnings, files.warnings]).toEqual([
      undefined,
      [expect.stringContaining("did not listen in its trial: The function exited with code")],
    ]);
    expect((await server.invoke(files, {})).status).toBe(200);
    for (const { id } of [web, files]) await server.api("DELETE", `/v1/functions/${id}`);
    await containersBecome(0, web, files);
  } finally {
    await engine.docker("rmi", "-f", one, two);
  }
});

/** Returns the processor time that a container has used, in milliseconds, by its cgroup. */
async function usedBy(id: string): Promise<number> {
  const path = `/containers/${id}/stats?stream=false&one-shot=true`;
  type Stats = { cpu_stats: { cpu_usage: { total_usage: number } } } | null;
  // The engine's own format; now and then it answers null.
  const ask = async () => (await engine.client.json("GET", path)) as Stats;
  let stats = await ask();
  await eventually(async () => (stats ??= await ask()) !== null);
  if (stats === null) throw new Error(`The engine has no figures of ${id}`);
  return stats.cpu_stats.cpu_usage.total_usage / 1e6;
}

/** Registers a function whose server never rests, and returns an instance that waits for a call. */
async function idleInstance(settings: { readonly max_calls?: number }) {
  const fn = await register(server, { environment: { SPIN: "1" }, warm_min: 1, warm_max: 1, ...settings });
  await full(server, fn, 1);
  const [id = ""] = await containersOf(fn);
  return { id, [Symbol.asyncDispose]: () => fn[Symbol.asyncDispose]() };
}

test("an instance that waits for its only call uses less than 0.1 % of a core, though it would never rest, and one that may run uses more", async () => {
  await using frozen = await idleInstance({});
  await using running = await idleInstance({ max_calls: 0 });
  const usedInASecond = async () => {
    const before = await usedBy(frozen.id);
    await Bun.sleep(1_000);
    return (await usedBy(frozen.id)) - before;
  };
  // A server that never rests is frozen 10 s after it listens.
  await eventually(async () => (await usedInASecond()) < 1, 30_000);
  const before = await usedBy(running.id);
  expect(await usedInASecond()).toBeLessThan(1);
  await eventually(async () => (await usedBy(running.id)) - before > 100, 30_000);
});

/** Stands in for a watchdog of OpenFaaS: its own port listens at once, and its function's later. */
const WATCHDOG = `mkdir -p /tmp/w /tmp/upstream; cp /var/openfaas/secrets/* /tmp/w
  env > /tmp/w/env; httpd -p 8080 -h /tmp/w; sleep 1; exec httpd -f -p 3000 -h /tmp/upstream`;

test("an image of OpenFaaS gets no call before its function listens, and finds its secrets where it looks for them", async () => {
  await server.api("PUT", "/v1/secrets/of-token", { value: "s3cret-of-token" });
  const image = await imageWith(
    engine,
    await fixture("shell"),
    "ENV mode=http upstream_url=http://127.0.0.1:3000",
    "CMD []",
  );
  const { body } = await server.api<Function>("POST", "/v1/functions", {
    image,
    entrypoint: ["/bin/sh", "-c", WATCHDOG, "fwatchdog"],
    secrets: [{ name: "of-token", environment: null }],
    timeout_ms: 61_000,
  });
  const fn = body.data;
  expect(fn).toMatchObject({ contract: "http", contract_reason: "watchdog", port: 8080, extra_ports: [3000] });
  expect(await bootOf(fn)).toMatchObject({ problem: null, boot_ms: expect.any(Number) });
  expect((await bootOf(fn)).boot_ms).toBeGreaterThanOrEqual(1_000);
  const route = await server.api<{ id: string }>("POST", "/v1/routes", { path: "/watchdog/*", function_id: fn.id });
  expect(await (await fetch(`${server.url}/r/watchdog/of-token`)).text()).toBe("s3cret-of-token");
  const variables = await (await fetch(`${server.url}/r/watchdog/env`)).text();
  for (const name of ["read_timeout", "write_timeout", "exec_timeout"]) expect(variables).toContain(`${name}=66s\n`);
  await server.api("DELETE", `/v1/routes/${route.body.data.id}`);
  await server.api("DELETE", `/v1/functions/${fn.id}`);
  await containersBecome(0, fn);
  await engine.docker("rmi", "-f", image);
});
