import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { FunctionResponse } from "../../../lib/domain/calls/http-message.ts";
import { Metrics } from "../../../lib/metrics.ts";
import type { Call, RunnerRun } from "../../../lib/runner/call.ts";
import type { Outcome } from "../../../lib/runner/instance/outcome.ts";
import { AttemptRunner } from "../../../lib/services/work/attempt-runner.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { BARE_OUTCOME } from "../support/outcomes.ts";
import { newStore, someFunction, someInvocation } from "../../store/sqlite/support/stores.ts";
import { NO_TRACING } from "../support/no-tracing.ts";

const LIMIT = 1_000;

let store: SqliteStore;
beforeEach(() => {
  store = newStore();
});
afterEach(() => store[Symbol.dispose]());

const PAYLOAD = {
  invocation_id: "i",
  request: Buffer.from("{}"),
  request_meta: null,
  response: null,
  response_meta: null,
};

/** Makes an attempt whose function answers in this way. */
async function attempt(run: (call: Call) => RunnerRun) {
  const fn = someFunction("f1", { contract: "http", port: 8080 });
  const runner = new AttemptRunner({
    store: {
      functions: store.functions,
      routes: store.routes,
      history: { payload: async () => PAYLOAD },
    },
    functions: { get: () => fn, withImage: async (one) => one },
    routes: { functionFor: () => fn },
    runner: {
      run: async (call) => run(call),
      problem: undefined,
      reserve: async () => undefined,
      roomBehind: () => Infinity,
    },
    secretsFor: () => ({ environment: {}, files: [] }),
    metrics: new Metrics(),
    tracing: NO_TRACING,
    memory: { isFull: false, hold: () => () => undefined },
    response_bytes: LIMIT,
  });
  return runner.run({
    invocation: someInvocation("i", { boot_ms: 5 }),
    attempt: 1,
    signal: new AbortController().signal,
    onHandover: async () => Infinity,
    onLogs: () => undefined,
  });
}

function runOf(response: FunctionResponse, head: Partial<Outcome>, ended: Promise<Partial<Outcome>>): RunnerRun {
  const outcome = { ...BARE_OUTCOME, ...head, response };
  return {
    outcome,
    over: ended,
    ended: ended.then((end) => ({ ...outcome, ...end })),
    reusable: Promise.resolve(false),
    gone: () => Promise.resolve(),
  };
}

function stream(...texts: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => {
      for (const text of texts) controller.enqueue(Buffer.from(text));
      controller.close();
    },
  });
}

describe("AttemptRunner", () => {
  test("collects an answer that streams", async () => {
    const response = { status: 201, headers: [["x-a", "1"]] as const, body: stream("one", "two") };
    const result = await attempt(() =>
      runOf(response, { first_byte_ms: 2 }, Promise.resolve({ cpu_ms: 3, response_bytes: 6 })),
    );
    expect(Buffer.from(result.response ?? []).toString()).toBe("onetwo");
    expect(JSON.parse(result.response_meta ?? "")).toEqual({ status: 201, headers: [["x-a", "1"]] });
    const fields = { cpu_ms: 3, response_bytes: 6, first_byte_ms: 2, boot_ms: null };
    expect(result.finished).toMatchObject({ status: "succeeded", fields });
  });

  test("ends a run whose answer is over the limit", async () => {
    const result = await attempt(({ signal }) => {
      const ended = Promise.withResolvers<Partial<Outcome>>();
      signal.addEventListener("abort", () => ended.resolve({ status: "cancelled", reason: "cancelled" }));
      return runOf({ status: 200, headers: [], body: stream("x".repeat(LIMIT), "x") }, {}, ended.promise);
    });
    expect(result.finished).toMatchObject({ status: "failed", fields: { reason: "response_too_large" } });
    expect(result.response).toBeNull();
  });

  test("has no answer if that is cut", async () => {
    const body = new ReadableStream<Uint8Array>({ pull: () => Promise.reject(new Error("cut")) });
    const end = { status: "timed_out", reason: "function_timeout" } as const;
    const result = await attempt(() => runOf({ status: 200, headers: [], body }, {}, Promise.resolve(end)));
    expect(result).toMatchObject({ response: null, finished: { status: "timed_out" } });
  });

  test("keeps the answer of a failure, and the function's wish", async () => {
    const failed = { status: "failed", reason: "function_failed", wish: { retry_after_ms: 7_000 } } as const;
    const response = { status: 503, headers: [], body: Buffer.from("later") };
    const result = await attempt(() => runOf(response, failed, Promise.resolve(failed)));
    expect(result).toMatchObject({ wish: { retry_after_ms: 7_000 }, finished: { status: "failed" } });
    expect(Buffer.from(result.response ?? []).toString()).toBe("later");
  });
});
