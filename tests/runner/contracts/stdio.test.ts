import { describe, expect, test } from "bun:test";
import { plainRequest } from "../../../lib/domain/calls/http-message.ts";
import type { Reason } from "../../../lib/domain/errors.ts";
import type { Output } from "../../../lib/domain/functions/contract.ts";
import { judgeOutput, STDIO } from "../../../lib/runner/contracts/stdio.ts";
import type { ExitFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import type { RunFacts } from "../../../lib/runner/instance/outcome.ts";
import { functionOf } from "../pool/fake-instances.ts";

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
  bodyFile: true,
  responseState: "fine",
  responseBytes: 0,
};

const facts = (): RunFacts => ({
  logs: new LogCollector(() => 0),
  timeout_ms: 1_000,
  response_limit: 100,
  command: ["/bin/function"],
});

function judged(
  printed: string,
  exit: Partial<ExitFrame> = {},
  output: Output = "raw",
  content_type: string | null = null,
) {
  return judgeOutput({ content_type, output }, { ...EXIT, ...exit }, { response: Buffer.from(printed) }, facts());
}

describe("judgeOutput answers", () => {
  const CGI = "Status: 404 Not Found\nContent-Type: text/plain\n\ngone";
  test.each<[string, string, Partial<ExitFrame>, Output, Reason | null, number | null]>([
    ["exit 0 and output", "hi", {}, "raw", null, 200],
    ["exit 0 and none", "", {}, "raw", null, 200],
    ["exit 1 and output", "no such key", { exitCode: 1 }, "raw", "function_failed", 500],
    ["exit 1 and none", "", { exitCode: 1 }, "raw", "function_failed", null],
    ["a signal and output", "part", { signal: 11 }, "raw", "function_failed", 500],
    ["a signal and none", "", { signal: 15 }, "raw", "function_failed", null],
    ["too much output", "xxx", { signal: 9, responseState: "over_limit" }, "raw", "response_too_large", null],
    [
      "too much output and memory",
      "xxx",
      { signal: 9, oomKills: 1, responseState: "over_limit" },
      "raw",
      "response_too_large",
      null,
    ],
    ["no memory", "part", { signal: 9, oomKills: 1 }, "raw", "out_of_memory", null],
    ["a shell whose child had none", "", { exitCode: 137, oomKills: 1 }, "raw", "out_of_memory", null],
    ["a child had none, and it coped", "fine", { oomKills: 1 }, "raw", null, 200],
    ["cgi", CGI, {}, "cgi", null, 404],
    ["cgi and exit 1", CGI, { exitCode: 1 }, "cgi", "function_failed", 500],
    ["cgi without a head", "hi", {}, "cgi", "invalid_response", null],
    ["cgi without output", "", {}, "cgi", "invalid_response", null],
    ["cgi without output and exit 1", "", { exitCode: 1 }, "cgi", "function_failed", null],
    ["cgi without a head and exit 1", "Died at line 1\n", { exitCode: 1 }, "cgi", "invalid_response", null],
  ])("%s", (_, printed, exit, output, reason, status) => {
    const outcome = judged(printed, exit, output);
    expect(outcome.reason).toBe(reason);
    expect(outcome.response?.status ?? null).toBe(status);
    expect(outcome.status).toBe(reason === null ? "succeeded" : "failed");
  });

  test("with the content type of the setting, or that of any bytes", () => {
    expect(judged("x").response?.headers).toEqual([["content-type", "application/octet-stream"]]);
    expect(judged("x", {}, "raw", "text/plain").response?.headers).toEqual([["content-type", "text/plain"]]);
    expect(judged("Status: 200\n\nx", {}, "cgi", "text/plain").response?.headers).toEqual([
      ["content-type", "text/plain"],
    ]);
    expect(judged("Status: 204\n\n", {}, "cgi").response?.headers).toEqual([]);
  });

  test("with a message that says what was wrong", () => {
    expect(judged("", { exitCode: 3 }).message).toBe(
      "The function exited with code 3 and printed no response: see its logs",
    );
    expect(judged("x", { signal: 9, responseState: "over_limit" }).message).toBe(
      "The function was ended, as it printed more than the limit of 100 bytes: see its logs",
    );
    expect(judged("<html>\n\n", {}, "cgi").message).toBe(
      'The function exited with code 0, and its output has no ":" in line 1, which must be a header: see its logs',
    );
  });

  test("and notes in the log which headers of the output were left out", () => {
    expect(judged("Status: 200\nContent-Length: 1\n\nx", {}, "cgi").logs).toMatchObject([
      {
        stream: "stderr",
        text: 'slipway: the header "content-length" of the output is left out: the server sets it\n',
      },
    ]);
  });
});

describe("an exchange by STDIO", () => {
  const call = (secrets = { environment: {}, files: [] as { name: string; value: string }[] }) => ({
    id: "call",
    function: functionOf("f"),
    request: plainRequest(Buffer.from("{}")),
    secrets,
  });

  test("gives the body to stdin, leaves the context empty and hands over the secrets", async () => {
    const given = { environment: { TOKEN: "t" }, files: [{ name: "key", value: "k" }] };
    const exchange = await STDIO.exchange(call(given), 0);
    expect(exchange).toMatchObject({ streamed: true, body_file: false, secrets: ["t", "k"] });
    expect(exchange.extras.files).toMatchObject([{ place: "secrets", name: "key" }]);
    expect(exchange.extras.environment).toMatchObject({ TOKEN: "t", REQUEST_METHOD: "POST" });
  });

  test("waits for a body that is still arriving", async () => {
    const body = new Response("later").body;
    if (body === null) throw new Error("no stream");
    const exchange = await STDIO.exchange({ ...call(), request: { ...call().request, body } }, 0);
    expect(Buffer.from(exchange.body).toString()).toBe("later");
  });

  test("notes what had no room", async () => {
    const headers = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`x-${index}`, "y".repeat(60_000)]));
    const request = { ...call().request, headers };
    const exchange = await STDIO.exchange({ ...call(), request }, 0);
    const { logs } = exchange.judge(EXIT, { response: Buffer.from("x"), meta: new Uint8Array(0) }, facts());
    expect(logs).toMatchObject([
      { text: expect.stringMatching(/^slipway: no room for the variables HTTP_X_17, .* and 13 more\n$/) },
    ]);
  });
});
