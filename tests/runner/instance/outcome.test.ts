import { describe, expect, test } from "bun:test";
import type { Reason } from "../../../lib/domain/errors.ts";
import { FAILED_STAGES } from "../../../lib/runner/gate-protocol/frames.ts";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import { judgeFailed, type RunFacts, timedOut } from "../../../lib/runner/instance/outcome.ts";
import { exitFrame } from "../../gate/support/gate-frames.ts";

const EXIT = exitFrame({ userUs: 1_500, systemUs: 500, peakBytes: 4096, logDroppedBytes: 7 });

function facts(): RunFacts {
  return { logs: new LogCollector(() => 0), timeout_ms: 1_000, response_limit: 100, command: ["/bin/function", "x"] };
}

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
    [8, /it is not a program for this machine/],
    [7, /its variables and arguments are too long together/],
    [40, /ELOOP/],
    [0, /error 0/],
    [99_999, /error 99999|Unknown/],
    [4_294_967_295, /error/],
  ])("names errno %d", (errno, message) => {
    expect(judgeFailed({ type: "failed", stage: "exec", errno }, facts()).message).toMatch(message);
  });
});

test("judgeFailed masks secrets", () => {
  const secret = { ...facts(), logs: new LogCollector(() => 0, ["hunter2", "/bin/function"]) };
  expect(judgeFailed({ type: "failed", stage: "exec", errno: 2 }, secret).message).toContain('The command "***"');
});

test("timedOut keeps what the gate reported after the deadline", () => {
  expect(timedOut(facts())).toMatchObject({ status: "timed_out", exit_code: null, signal: null, response: null });
  expect(timedOut(facts(), { ...EXIT, exitCode: 3 })).toMatchObject({ status: "timed_out", exit_code: 3, cpu_ms: 2 });
  expect(timedOut(facts(), { ...EXIT, signal: 9 })).toMatchObject({ exit_code: null, signal: 9, response: null });
});
