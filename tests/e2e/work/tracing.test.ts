import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, InvocationLogs } from "../../../lib/domain/calls/invocations.ts";
import { expectSuccess } from "../../http/support/replies.ts";
import { Collector } from "../../services/support/collector.ts";
import { outside, treeOf } from "../../services/support/span-trees.ts";
import { fixture } from "../../support/images.ts";
import { eventually, expectWithin } from "../../support/pace.ts";
import { Receiver } from "../../support/receiver.ts";
import { TestServer } from "../../support/server.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
/** Prints the trace that the function is in. */
const SHOW = 'echo "$TRACEPARENT $TRACESTATE"';

let collector: Collector;
let receiver: Receiver;
let server: TestServer;
let image: string;
let dataPath: string;

const environment = () => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  OTEL_EXPORTER_OTLP_HEADERS: "x-key=a%20secret",
  OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
  CALLBACK_ALLOW: "127.0.0.1",
  DATA_PATH: dataPath,
});

beforeAll(async () => {
  collector = new Collector();
  receiver = await Receiver.start();
  dataPath = await mkdtemp(join(tmpdir(), "slipway-tracing-"));
  server = await TestServer.start(environment());
  image = await fixture("chaos");
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(dataPath, { recursive: true, force: true });
  await receiver[Symbol.asyncDispose]();
  await collector[Symbol.asyncDispose]();
});

function shell(script: string, settings: Partial<Function> = {}): Promise<Function> {
  return server.createFunction(image, { entrypoint: ["/bin/sh", "-c"], command: [script], ...settings });
}

describe("with a collector", () => {
  test("a chain with a retry and callbacks is one trace, which begins with its caller", async () => {
    const hooks = { callback_url: receiver.url };
    const second = await shell(`${SHOW}; echo "{}" > $CONTEXT_PATH/response.json`, { name: "second", ...hooks });
    const retry = { max_attempts: 2, min_ms: 0, max_ms: 0, on: ["non_zero_exit" as const] };
    const first = await shell(`${SHOW}; exit 3`, { name: "first", retry, on_failure: second.id, ...hooks });
    const headers = { traceparent: `00-${TRACE}-${CALLER}-01`, tracestate: "vendor=1" };
    const submitted = await server.api<Invocation>(
      "POST",
      `/v1/functions/${first.id}/invoke?async=true`,
      "{}",
      headers,
    );
    const { id } = expectSuccess(submitted, 202);
    await receiver.get(2);
    const spans = await collector.trace(TRACE, 16);

    const waits = "queue start run";
    expect(treeOf(spans, CALLER)).toBe(
      `first(attempt(${waits}) attempt(${waits}) second(attempt(${waits}) callback) callback)`,
    );
    expect(outside(spans)).toEqual([]);
    expect(spans.map(({ state }) => state)).toEqual(spans.map(() => "vendor=1"));

    const record = await server.invocation(id);
    expect(record).toMatchObject({ trace_id: TRACE, parent_span_id: CALLER, trace_flags: 1, tracestate: "vendor=1" });
    const own = spans.find(({ name }) => name === "first");
    expect(own).toMatchObject({ kind: 5, status: 2 });
    expect(own?.attributes).toMatchObject({
      "faas.invocation_id": id,
      "faas.name": "first",
      "faas.trigger": "http",
      "error.type": "function_failed",
      "slipway.attempts": "2",
    });
    expect(own?.start).toBe(BigInt(Date.parse(record.created_at)) * 1_000_000n);

    // Each attempt of the function is below its own run, and each callback names its own span.
    const runs = spans.filter(({ name }) => name === "run");
    for (const attempt of [1, 2]) {
      const { entries } = expectSuccess(
        await server.api<InvocationLogs>("GET", `/v1/invocations/${id}/attempts/${attempt}/logs`),
      );
      const [, trace = "", parent = "", flags = ""] =
        /^00-(\w+)-(\w+)-(\w+) vendor=1\n$/.exec(entries[0]?.text ?? "") ?? [];
      expect([trace, flags, runs.map((run) => run.id).includes(parent)]).toEqual([TRACE, "01", true]);
    }
    const sent = receiver.received.map(
      ({ headers: { traceparent, tracestate } }) => `${String(traceparent)} ${String(tracestate)}`,
    );
    const callbacks = spans.filter(({ name }) => name === "callback");
    expect(new Set(sent)).toEqual(new Set(callbacks.map(({ id: span }) => `00-${TRACE}-${span}-01 vendor=1`)));
    expect(callbacks[0]?.attributes).toMatchObject({
      "server.address": "127.0.0.1",
      "http.response.status_code": "204",
    });
    expect(JSON.stringify(callbacks[0]?.attributes)).not.toContain("hook");
    expect(collector.headers[0]?.get("x-key")).toBe("a secret");
    expect(collector.resources[0]).toMatchObject({
      "service.name": "slipway",
      "deployment.environment.name": "test",
    });
  });

  test("a synchronous call begins a trace of its own if its caller sends none, or a wrong one", async () => {
    const fn = await shell(`${SHOW}; cp $CONTEXT_PATH/request.meta.json $CONTEXT_PATH/response.json`, {
      name: "shown",
    });
    const route = await server.createRoute("/shown/*", fn.id);
    const answer = await fetch(`${server.url}/r/shown/a/secret?token=b`, {
      method: "POST",
      headers: { traceparent: `00-${TRACE.toUpperCase()}-${CALLER}-01`, tracestate: "vendor=1" },
    });
    const { headers } = (await answer.json()) as { headers: Record<string, string> };
    const id = answer.headers.get("x-request-id") ?? "";
    const trace = id.replaceAll("-", "");
    const spans = await collector.trace(trace, 4);
    expect(treeOf(spans, "")).toBe("shown(queue start run)");
    expect(outside(spans)).toEqual([]);
    const run = spans.find(({ name }) => name === "run")?.id;
    expect([headers["traceparent"], headers["tracestate"]]).toEqual([`00-${trace}-${run}-01`, undefined]);
    expect((await server.logs(id)).entries[0]?.text).toBe(`00-${trace}-${run}-01 \n`);
    const own = spans.find(({ name }) => name === "shown");
    expect(own).toMatchObject({ kind: 2, status: 0 });
    expect(own?.attributes).toMatchObject({
      "http.request.method": "POST",
      "http.route": "/r/shown/*",
      "http.response.status_code": "200",
      "faas.coldstart": true,
      "faas.version": "1",
    });
    expect(JSON.stringify(own?.attributes)).not.toMatch(/secret|token/);
    expectSuccess(await server.api("DELETE", `/v1/routes/${route.id}`));
  });

  test("a trace that its caller does not record leaves no spans, and is passed on", async () => {
    const fn = await shell(SHOW);
    const trace = TRACE.replace("4bf9", "4bf8");
    const before = collector.spans.length;
    const answer = await server.invoke(fn, "{}", { headers: { traceparent: `00-${trace}-${CALLER}-00` } });
    const id = answer.headers.get("x-request-id") ?? "";
    expect((await server.logs(id)).entries[0]?.text).toBe(`00-${trace}-${CALLER}-00 \n`);
    // The next call is exported after it.
    const later = await server.invoke(fn, "{}");
    await collector.trace((later.headers.get("x-request-id") ?? "").replaceAll("-", ""), 4);
    expect(collector.spans.slice(before).filter((span) => span.trace === trace)).toEqual([]);
  });

  test("a call that waits while the server is replaced stays in its trace", async () => {
    const trace = TRACE.replace("4bf9", "4bf7");
    const fn = await shell("exit 0", { name: "kept" });
    const delayed = `/v1/functions/${fn.id}/invoke?async=true&run_at=${new Date(Date.now() + 3_600_000).toISOString()}`;
    const headers = { traceparent: `00-${trace}-${CALLER}-01` };
    const { id } = expectSuccess(await server.api<Invocation>("POST", delayed, "{}", headers), 202);
    await server.stop(0);
    server = await TestServer.start(environment());
    expectSuccess(await server.api("POST", `/v1/invocations/${id}/cancel`));
    const spans = await collector.trace(trace, 1);
    expect(spans).toMatchObject([{ name: "kept", parent: CALLER, attributes: { "slipway.status": "cancelled" } }]);
  });
});

test("a collector that refuses spans or is away costs a line in the log and no call, and a server that stops does not wait for it", async () => {
  await using refusing = new Collector();
  refusing.answer = () => new Response(null, { status: 400 });
  const lonely = await TestServer.start({ OTEL_EXPORTER_OTLP_ENDPOINT: refusing.url });
  const fn = await lonely.createFunction(image, { entrypoint: ["/bin/sh", "-c"], command: ["exit 0"] });
  expect((await lonely.invoke(fn, "{}")).status).toBe(200);
  const said = () => lonely.log.filter((line) => line.includes("OTEL_EXPORTER_OTLP_ENDPOINT"));
  expect(await eventually(() => said().length > 0)).toBe(true);
  const metrics = await (await fetch(`${lonely.url}/metrics`)).text();
  expect(metrics).toMatch(/^slipway_traces_dropped_total 1$/m);
  await refusing.stop();
  expect((await lonely.invoke(fn, "{}")).status).toBe(200);
  const began = performance.now();
  await lonely[Symbol.asyncDispose]();
  // Two seconds for the last spans, and what else a server does when it stops.
  await expectWithin(performance.now() - began, 5_000);
  expect(said()).toHaveLength(1);
});
