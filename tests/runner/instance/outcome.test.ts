import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Reason } from "../../../lib/domain/errors.ts";
import { FAILED_STAGES, type ExitFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import { judge, judgeFailed, type RunFacts, timedOut } from "../../../lib/runner/instance/outcome.ts";

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

describe("judge of an answer of files", () => {
  const META = { metaState: "fine", metaBytes: 2 } as const;
  const BODY = { bodyFile: true } as const;

  test.each<[string, Partial<ExitFrame>, string, string, Answer]>([
    ["a meta file", META, "{}", '{"status": 201}', ["succeeded", null, "bytes"]],
    [
      "a meta file and exit 1, with a response",
      { ...META, exitCode: 1 },
      "[]",
      "{}",
      ["failed", "function_failed", "bytes"],
    ],
    ["a meta file and exit 1, without one", { ...META, exitCode: 1 }, "{}", "{}", ["failed", "function_failed", null]],
    ["a meta file and no JSON", META, "<html>", "{}", ["failed", "invalid_response", null]],
    ["an empty meta file", { ...META, metaBytes: 0 }, "{}", "", ["failed", "invalid_response", null]],
    ["a wrong meta file", META, "{}", "[]", ["failed", "invalid_response", null]],
    ["a wrong meta file and exit 1", { ...META, exitCode: 1 }, "[]", "[]", ["failed", "invalid_response", null]],
    ["a meta file that is none", { metaState: "no_regular_file" }, "{}", "", ["failed", "invalid_response", null]],
    ["too much meta", { metaState: "over_limit" }, "{}", "", ["failed", "invalid_response", null]],
    ["unreadable meta", { metaState: "unreadable" }, "{}", "", ["failed", "invalid_response", null]],
    ["a body file of any bytes", BODY, "<html>", "", ["succeeded", null, "bytes"]],
    ["an empty body file", BODY, "", "", ["succeeded", null, "bytes"]],
    ["a body file and exit 1", { ...BODY, exitCode: 1 }, "{}", "", ["failed", "function_failed", "bytes"]],
    [
      "a body file that is none",
      { ...BODY, responseState: "no_regular_file" },
      "",
      "",
      ["failed", "invalid_response", null],
    ],
    [
      "too much of a body file",
      { ...BODY, responseState: "over_limit" },
      "",
      "",
      ["failed", "response_too_large", null],
    ],
  ])("%s", (_, exit, response, meta, [status, reason, bytes]) => {
    const files = { response: Buffer.from(response), meta: Buffer.from(meta) };
    const outcome = judge({ ...EXIT, ...exit }, files, facts());
    expect(outcome).toMatchObject({ status, reason });
    expect(outcome.response).toEqual(bytes === null ? null : files.response);
    expect(outcome.meta === null).toBe(bytes === null || exit.metaState !== "fine");
    expect(outcome.body_file).toBe(bytes !== null && exit.bodyFile === true);
  });

  test("says which file it means", () => {
    const messageOf = (exit: Partial<ExitFrame>, meta = "") =>
      judge({ ...EXIT, ...exit }, { response: Buffer.from("{}"), meta: Buffer.from(meta) }, facts()).message;
    expect(messageOf({ ...BODY, responseState: "over_limit" })).toContain(
      "response.body is over the limit of 100 bytes",
    );
    expect(messageOf({ metaState: "over_limit" })).toContain("response.meta.json is over the limit of 65536 bytes");
    expect(messageOf(META, '{"status": 99}')).toContain("response.meta.json has the status 99: give a whole number");
  });

  test("tells in the function's log what was left out", () => {
    const meta = Buffer.from('{"headers": {"Connection": "close", "X-A": "b"}}');
    const outcome = judge({ ...EXIT, ...META }, { response: Buffer.from("{}"), meta }, facts());
    expect(outcome.meta?.headers).toEqual([["x-a", "b"]]);
    expect(outcome.logs).toEqual([
      {
        stream: "stderr",
        text: 'slipway: the header "connection" of response.meta.json is left out: it is about one connection only\n',
      },
    ]);
  });

  test("masks secrets in its message, and in what a gate that failed says", () => {
    const secret = { ...facts(), logs: new LogCollector(["hunter2", "/bin/function"]) };
    const meta = Buffer.from('{"status": "hunter2"}');
    const outcome = judge({ ...EXIT, ...META }, { response: Buffer.from("{}"), meta }, secret);
    expect(outcome.message).toContain('response.meta.json has the status "***"');
    expect(judgeFailed({ type: "failed", stage: "exec", errno: 2 }, secret).message).toContain('The command "***"');
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
    [7, /its variables and arguments are too long together/],
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
