import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { type Family, parseMetrics, total } from "../support/metrics-text.ts";

let server: TestServer;
let fn: Function;

beforeAll(async () => {
  server = await TestServer.start();
  fn = await server.createFunction(await fixture("static"), { name: "counted" });
});

afterAll(() => server[Symbol.asyncDispose]());

async function metrics(): Promise<Map<string, Family>> {
  const response = await fetch(`${server.url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  return parseMetrics(await response.text());
}

describe("GET /metrics", () => {
  test("GET /metrics has every metric, each with its help", async () => {
    const families = await metrics();
    const types = Object.fromEntries([...families].map(([name, { type }]) => [name, type]));
    expect(types).toMatchObject({
      slipway_invocations_total: "counter",
      slipway_rejections_total: "counter",
      slipway_queue_seconds: "histogram",
      slipway_start_seconds: "histogram",
      slipway_boot_seconds: "histogram",
      slipway_first_byte_seconds: "histogram",
      slipway_run_seconds: "histogram",
      slipway_body_bytes_total: "counter",
      slipway_instances: "gauge",
      slipway_instances_by_isolation: "gauge",
      slipway_queued_calls: "gauge",
      slipway_engine_up: "gauge",
      slipway_engine_calls_total: "counter",
      slipway_engine_errors_total: "counter",
      slipway_engine_seconds: "histogram",
      slipway_pulls_total: "counter",
      slipway_records_dropped_total: "counter",
      slipway_build_info: "gauge",
      slipway_database_bytes: "gauge",
      slipway_database_up: "gauge",
      process_resident_memory_bytes: "gauge",
      process_open_fds: "gauge",
    });
    for (const [name, { help, samples }] of families) {
      expect(help).toMatch(/^[A-Z1].+/);
      for (const { value } of samples) expect([name, Number.isFinite(value)]).toEqual([name, true]);
    }
  });

  test("GET /metrics has plausible figures for the process and the database", async () => {
    const families = await metrics();
    expect(total(families, "process_resident_memory_bytes")).toBeGreaterThan(1024 * 1024);
    expect(total(families, "process_open_fds")).toBeGreaterThan(3);
    expect(total(families, "process_start_time_seconds")).toBeLessThanOrEqual(Date.now() / 1000);
    expect(total(families, "process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(total(families, "slipway_database_bytes")).toBeGreaterThan(4096);
    expect(total(families, "slipway_engine_up")).toBe(1);
    expect(total(families, "slipway_database_up")).toBe(1);
  });

  test("GET /metrics counts calls by function, status and start", async () => {
    const before = await metrics();
    await server.invoke(fn, "{}");
    await server.invoke(fn, { do: "exit", code: 1 });
    const after = await metrics();
    const moved = (name: string, labels: Record<string, string>) =>
      total(after, name, labels) - total(before, name, labels);
    const labels = { function: "counted", start: "cold" };
    expect(moved("slipway_invocations_total", { ...labels, status: "succeeded" })).toBe(1);
    expect(moved("slipway_invocations_total", { ...labels, status: "failed" })).toBe(1);
    expect(moved("slipway_invocations_total", {})).toBe(2);
    const sent = JSON.stringify({ do: "exit", code: 1 }).length;
    expect(moved("slipway_body_bytes_total", { function: "counted", direction: "request" })).toBe(2 + sent);
    for (const name of ["slipway_queue_seconds", "slipway_start_seconds", "slipway_run_seconds"]) {
      expect([name, moved(`${name}_count`, { function: "counted" })]).toEqual([name, 2]);
      expect([name, moved(`${name}_bucket`, { function: "counted", le: "+Inf" })]).toEqual([name, 2]);
    }
    const started = moved("slipway_start_seconds_sum", { function: "counted" });
    expect(started).toBeGreaterThan(0.01);
    expect(started).toBeLessThan(30);
    expect(moved("slipway_engine_calls_total", { operation: "container start" })).toBe(2);
    expect(moved("slipway_engine_seconds_count", { operation: "container start" })).toBe(2);
  });

  test("GET /metrics shows a running call as a busy instance", async () => {
    const controller = new AbortController();
    const call = server.invoke(fn, { do: "sleep" }, { signal: controller.signal }).catch(() => undefined);
    const busy = async () => total(await metrics(), "slipway_instances", { state: "busy" });
    await eventually(async () => (await busy()) === 1, 10_000);
    expect(await busy()).toBe(1);
    const families = await metrics();
    const of = (isolation: string) => total(families, "slipway_instances_by_isolation", { isolation });
    expect([of("cell"), of("process")]).toEqual([0, 0]);
    expect(of("container")).toBeGreaterThanOrEqual(1);
    controller.abort();
    await call;
  });

  test("GET /metrics forgets a deleted function", async () => {
    await server.createFunction(fn.image, { name: "short-lived" });
    await server.invoke({ id: "short-lived" }, "{}");
    expect(total(await metrics(), "slipway_invocations_total", { function: "short-lived" })).toBe(1);
    await server.api("DELETE", "/v1/functions/short-lived");
    const text = await (await fetch(`${server.url}/metrics`)).text();
    expect(text).not.toContain("short-lived");
  });

  test("GET /metrics has no label from a request", async () => {
    await fetch(`${server.url}/r/${"x".repeat(50)}`, { method: "POST", body: "{}" });
    await server.invoke({ id: "y".repeat(50) }, "{}");
    const text = await (await fetch(`${server.url}/metrics`)).text();
    expect(text).not.toContain("xxxxx");
    expect(text).not.toContain("yyyyy");
  });
});
