import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { beganAttempt, endedAttempt, LOST_WITH_SERVER } from "../../../lib/domain/calls/attempts.ts";
import { type FunctionRequest, plainRequest } from "../../../lib/domain/calls/http-message.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { spanIdOf, traceIdOf } from "../../../lib/domain/tracing/trace-context.ts";
import type { Span } from "../../../lib/services/tracing/span.ts";
import { Tracing } from "../../../lib/services/tracing/tracing.ts";
import { someInvocation } from "../../store/sqlite/support/stores.ts";

const ID = "0197a3b2-5c6d-7e8f-9a0b-1c2d3e4f5a6b";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
const HEADERS: Readonly<Record<string, string>> = { traceparent: `00-${TRACE}-${CALLER}-01`, tracestate: "vendor=1" };
const EXCHANGED = { method: "POST", via: { route: "/hello/*" }, response_status: 200 };

/** Tracing whose spans come here. */
function exporting(isSampled = true) {
  const spans: Span[] = [];
  const tracing = new Tracing({
    samples: () => isSampled,
    add: (make) => void spans.push(...make()),
    glossary: { nameOf: (id) => `name of ${id}`, statusOf: () => 502 },
  });
  return { tracing, spans };
}

const OFF = new Tracing(null);

describe("without an export", () => {
  test("a call without a trace costs nothing and gets none", () => {
    const record = someInvocation(ID, OFF.begin(ID, {}));
    const request = plainRequest(new Uint8Array(0));
    expect(record).toMatchObject({ trace_id: null, parent_span_id: null, trace_flags: null, tracestate: null });
    expect(OFF.handedOver(request, record, null)).toBe(request);
    expect(OFF.delivering(record, 1).headers).toEqual({});
  });

  test("a trace is passed on as it came, also to callbacks and followers", () => {
    const record = someInvocation(ID, OFF.begin(ID, HEADERS));
    const request = { ...plainRequest(new Uint8Array(0)), headers: HEADERS };
    expect(OFF.handedOver(request, record, null).headers).toEqual(HEADERS);
    expect(OFF.delivering(record, 1).headers).toEqual(HEADERS);
    expect(OFF.following(record)).toEqual(OFF.begin(ID, HEADERS));
  });

  test("what follows a call without a trace is in one that the call has begun", () => {
    const record = someInvocation(ID, OFF.begin(ID, {}));
    expect(OFF.following(record)).toMatchObject({
      trace_id: traceIdOf(ID),
      parent_span_id: spanIdOf(ID),
      trace_flags: 0,
    });
  });

  test("a function never gets a trace that is not valid, or the one of a request that is replayed", () => {
    const headers = { ...HEADERS, traceparent: "wrong", "x-other": "stays" };
    const request: FunctionRequest = { ...plainRequest(new Uint8Array(0)), headers };
    expect(OFF.handedOver(request, someInvocation(ID, OFF.begin(ID, headers)), null).headers).toEqual({
      "x-other": "stays",
    });
    const replayed = { ...request, headers: { ...HEADERS, "x-other": "stays" } };
    expect(OFF.handedOver(replayed, someInvocation(ID), 1).headers).toEqual({ "x-other": "stays" });
  });
});

describe("with an export", () => {
  test("a function, a callback and a follower are below the spans of the call", () => {
    const { tracing, spans } = exporting();
    const record = someInvocation(ID, tracing.begin(ID, HEADERS));
    const { headers } = tracing.handedOver(plainRequest(new Uint8Array(0)), record, null);
    tracing.called(record, EXCHANGED);
    const [own, ...inner] = spans;
    expect(own).toMatchObject({
      name: `name of ${record.function_id}`,
      parent_span_id: CALLER,
      is_parent_remote: true,
    });
    const run = inner.find(({ name }) => name === "run");
    expect(headers["traceparent"]).toBe(`00-${TRACE}-${run?.span_id}-01`);
    expect(tracing.following(record)).toEqual({ ...tracing.begin(ID, HEADERS), parent_span_id: own?.span_id ?? "" });
    const first = tracing.delivering(record, 1);
    expect(first.headers["traceparent"]).toBe(`00-${TRACE}-${first.span_id}-01`);
    expect(tracing.delivering(record, 1).span_id).not.toBe(first.span_id);
  });

  test("a trace that is not sampled leaves no spans, and is passed on as not sampled", () => {
    const { tracing, spans } = exporting(false);
    const record = someInvocation(ID, tracing.begin(ID, HEADERS));
    tracing.called(record, EXCHANGED);
    const { headers } = tracing.handedOver(plainRequest(new Uint8Array(0)), record, null);
    expect([spans, headers["traceparent"]]).toEqual([[], `00-${TRACE}-${CALLER}-00`]);
  });

  test("a call that fails without an answer has the status that its caller got, and the reason", () => {
    const { tracing, spans } = exporting();
    const failed: Partial<Invocation> = { status: "failed", reason: "boot_failed", run_ms: null };
    tracing.called(someInvocation(ID, { ...failed, ...tracing.begin(ID, {}) }), {
      ...EXCHANGED,
      method: "BREW",
      response_status: null,
    });
    expect(spans[0]).toMatchObject({
      has_failed: true,
      attributes: { "http.response.status_code": 502, "error.type": "boot_failed", "http.request.method": "_OTHER" },
    });
  });

  test("an attempt that was lost with a server, and the one after it, are spans of the same invocation", () => {
    const { tracing, spans } = exporting();
    const record = someInvocation(ID, { mode: "async", ...tracing.begin(ID, HEADERS) });
    const [first, second] = [beganAttempt(1, record.created_at), beganAttempt(2, record.created_at)];
    const lost = endedAttempt(first, LOST_WITH_SERVER, true, record.created_at);
    const made = endedAttempt(second, { status: "succeeded", fields: { run_ms: 2 } }, false, record.created_at);
    const end = { invocation_id: ID, answer: null, deliveries: [], submissions: [] };
    const left = { due: 0, attempts: 1, lost_attempts: 1, waits_since: null };
    tracing.ended({ ...end, attempt: 1, invocation: { ...record, status: "queued" }, record: lost, left });
    // Another server: it knows nothing but the records.
    const next = exporting();
    const { headers } = next.tracing.handedOver(plainRequest(new Uint8Array(0)), record, 2);
    next.tracing.ended({ ...end, attempt: 2, invocation: record, record: made, left: null });
    // The function may have handed the span of its run on: that is the parent of others.
    expect(spans).toMatchObject([
      { name: "attempt", parent_span_id: spanIdOf(ID), has_failed: true, attributes: { "slipway.status": "lost" } },
      {
        name: "run",
        parent_span_id: spans[0]?.span_id,
        has_failed: true,
        attributes: { "error.type": "instance_lost" },
      },
    ]);
    const [own, attempt, run] = next.spans;
    expect(own).toMatchObject({ kind: "consumer", span_id: spanIdOf(ID), parent_span_id: CALLER });
    expect(attempt).toMatchObject({ name: "attempt", parent_span_id: spanIdOf(ID) });
    expect(attempt?.span_id).not.toBe(spans[0]?.span_id);
    expect(run).toMatchObject({ name: "run", parent_span_id: attempt?.span_id });
    expect(headers["traceparent"]).toBe(`00-${TRACE}-${run?.span_id}-01`);
  });

  test("spans are within the span of their call and one after the other, whatever the record's times are", () => {
    const ms = fc.option(fc.double({ min: 0, max: 1e7, noNaN: true }));
    const times = fc.record({
      queue_ms: ms,
      start_ms: ms,
      boot_ms: ms,
      run_ms: ms,
      start: fc.constantFrom("cold", "warm", null),
    });
    fc.assert(
      fc.property(times, fc.nat({ max: 1_000 }), (timing, took) => {
        const { tracing, spans } = exporting();
        const created = Date.UTC(2026, 0, 31);
        const finished_at = new Date(created + took).toISOString();
        const created_at = new Date(created).toISOString();
        tracing.called(someInvocation(ID, { ...timing, ...tracing.begin(ID, {}), created_at, finished_at }), EXCHANGED);
        const byId = new Map(spans.map((span) => [span.span_id, span]));
        expect(byId.size).toBe(spans.length);
        let last = created;
        for (const { name, parent_span_id, began, ended } of spans.slice(1)) {
          const parent = byId.get(parent_span_id ?? "");
          expect(parent?.began ?? Infinity).toBeLessThanOrEqual(began);
          expect(parent?.ended ?? -Infinity).toBeGreaterThanOrEqual(ended);
          expect(began).toBeLessThanOrEqual(ended);
          if (name === "boot") continue;
          expect(began).toBe(last);
          last = ended;
        }
      }),
    );
  });
});
