import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Reason } from "../../lib/domain/errors.ts";
import { FAILED_STAGES, type ExitFrame } from "../../lib/runner/gate/frames.ts";
import { LogCollector } from "../../lib/runner/log-collector.ts";
import { judge, judgeFailed, type RunFacts, timedOut } from "../../lib/runner/outcome.ts";

const EXIT: ExitFrame = {
  type: "exit",
  exitCode: 0,
  signal: 0,
  oomKills: 0,
  userUs: 1_500,
  systemUs: 500,
  peakBytes: 4096,
  wallUs: 10,
  logDroppedBytes: 7,
  metaState: "missing",
  metaBytes: 0,
  bodyFile: false,
  responseState: "fine",
  responseBytes: 2,
};

const NO_META = new Uint8Array(0);

function facts(): RunFacts {
  return { logs: new LogCollector(), timeout_ms: 1_000, response_limit: 100, command: ["/bin/function", "x"] };
}

/** What the caller gets: the function's own bytes, or a reason. */
type Answer = readonly ["succeeded" | "failed", Reason | null, "bytes" | null];

describe("judge gives the answers of the table", () => {
  test.each<[string, Partial<ExitFrame>, string | Uint8Array, Answer]>([
    ["exit 0, a response", {}, '{"a":1}', ["succeeded", null, "bytes"]],
    ["exit 0, nothing written", {}, "{}", ["succeeded", null, "bytes"]],
    ["exit 0, any JSON value", {}, " null\n", ["succeeded", null, "bytes"]],
    ["exit 1, its own error", { exitCode: 1 }, '{"success":false}', ["failed", "function_failed", "bytes"]],
    ["exit 1, nothing written", { exitCode: 1 }, "{}", ["failed", "function_failed", null]],
    ["exit 127 of a function that ran", { exitCode: 127 }, "{}", ["failed", "function_failed", null]],
    ["a signal, its own error", { signal: 11 }, "[]", ["failed", "function_failed", "bytes"]],
    ["a signal, nothing written", { signal: 15 }, "{}", ["failed", "function_failed", null]],
    ["no file", { responseState: "missing" }, "", ["failed", "invalid_response", null]],
    ["no regular file", { responseState: "no_regular_file" }, "", ["failed", "invalid_response", null]],
    ["an unreadable file", { responseState: "unreadable" }, "", ["failed", "invalid_response", null]],
    ["too much", { responseState: "over_limit" }, "", ["failed", "response_too_large", null]],
    ["too much and exit 1", { responseState: "over_limit", exitCode: 1 }, "", ["failed", "response_too_large", null]],
    ["an empty file", {}, "", ["failed", "invalid_response", null]],
    ["a cut file", {}, '{"a":', ["failed", "invalid_response", null]],
    ["no JSON", {}, "<html>", ["failed", "invalid_response", null]],
    ["no JSON and exit 1", { exitCode: 1 }, "<html>", ["failed", "invalid_response", null]],
    ["no UTF-8", {}, Uint8Array.of(0x22, 0xff, 0x22), ["failed", "invalid_response", null]],
    ["a byte order mark", {}, "\u{feff}{}", ["failed", "invalid_response", null]],
    ["killed for its memory", { signal: 9, oomKills: 1 }, "{}", ["failed", "out_of_memory", null]],
    ["a shell whose child was", { exitCode: 137, oomKills: 1 }, "{}", ["failed", "out_of_memory", null]],
    ["a child was, and it coped", { oomKills: 1 }, "[1]", ["succeeded", null, "bytes"]],
    ["SIGKILL of another origin", { signal: 9 }, "{}", ["failed", "function_failed", null]],
  ])("%s", (_, exit, response, [status, reason, bytes]) => {
    const sent = Buffer.from(response);
    const outcome = judge({ ...EXIT, ...exit }, { response: sent, meta: NO_META }, facts());
    expect(outcome).toMatchObject({ status, reason, cpu_ms: 2, peak_memory_bytes: 4096, log_dropped_bytes: 7 });
    expect(outcome.response).toEqual(bytes === null ? null : sent);
    expect(outcome.message === null).toBe(status === "succeeded");
    const { signal = 0, exitCode = 0 } = exit;
    expect([outcome.exit_code, outcome.signal]).toEqual(signal === 0 ? [exitCode, null] : [null, signal]);
  });

  test("and passes any JSON on byte for byte", () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom("", " ", "\n"), (json, space) => {
        const sent = Buffer.from(space + json + space);
        expect(judge(EXIT, { response: sent, meta: NO_META }, facts()).response).toEqual(sent);
      }),
      { examples: [["12345678901234567890", ""]] },
    );
  });
});

describe("judgeFailed", () => {
  test.each(FAILED_STAGES)("explains a gate that failed at %s", (stage) => {
    const outcome = judgeFailed({ type: "failed", stage, errno: 2 }, facts());
    const reasons: Record<typeof stage, Reason> = {
      context: "function_failed",
      request: "function_failed",
      start: "function_failed",
      exec: "entrypoint_failed",
      frames: "internal",
      secrets: "function_failed",
    };
    expect(outcome).toMatchObject({ status: "failed", reason: reasons[stage], response: null, exit_code: null });
  });

  test.each([
    [2, /"\/bin\/function" cannot be executed: no such file/],
    [13, /it is not executable/],
    [8, /it is no program for this machine/],
    [40, /ELOOP/],
    [0, /error 0/],
    [99_999, /error 99999|Unknown/],
    [4_294_967_295, /error/],
  ])("names errno %d", (errno, message) => {
    expect(judgeFailed({ type: "failed", stage: "exec", errno }, facts()).message).toMatch(message);
  });
});

test("timedOut keeps what the gate reported after the deadline", () => {
  expect(timedOut(facts())).toMatchObject({ status: "timed_out", exit_code: null, signal: null, response: null });
  expect(timedOut(facts(), { ...EXIT, exitCode: 3 })).toMatchObject({ status: "timed_out", exit_code: 3, cpu_ms: 2 });
  expect(timedOut(facts(), { ...EXIT, signal: 9 })).toMatchObject({ exit_code: null, signal: 9, response: null });
});
