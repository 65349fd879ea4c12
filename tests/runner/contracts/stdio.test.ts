import { describe, expect, test } from "bun:test";
import { bytesOf, plainRequest } from "../../../lib/domain/calls/http-message.ts";
import type { Reason } from "../../../lib/domain/errors.ts";
import type { Output } from "../../../lib/domain/functions/contract.ts";
import { STDIO } from "../../../lib/runner/contracts/stdio.ts";
import { judgeOutput } from "../../../lib/runner/contracts/stdio-output.ts";
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

/** Nobody who listens to an answer. */
const DEAF = { begun: () => {}, consumed: () => {}, failed: () => {}, left: () => {} };

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
    expect(exchange).toMatchObject({ body_file: false, secrets: ["t", "k"] });
    expect(exchange.extras.files).toMatchObject([{ place: "secrets", name: "key" }]);
    expect(exchange.extras.environment).toMatchObject({ TOKEN: "t", REQUEST_METHOD: "POST" });
  });

  const arriving = (headers: Record<string, string> = {}, output: Output = "raw") => {
    const request = { ...call().request, headers, body: new Blob(["later"]).stream() };
    return STDIO.exchange({ ...call(), function: { ...functionOf("f"), output }, request }, 0);
  };

  test("takes a body while it arrives, with its length if its sender has said that", async () => {
    const exchange = arriving();
    if (exchange instanceof Promise) throw new Error("It waits");
    expect(exchange.body).toBeInstanceOf(ReadableStream);
    expect(exchange.extras.environment).not.toHaveProperty("CONTENT_LENGTH");
    const announced = await arriving({ "content-length": "5" }, "cgi");
    expect(announced.body).toBeInstanceOf(ReadableStream);
    expect(announced.extras.environment).toMatchObject({ CONTENT_LENGTH: "5" });
  });

  test("waits for a body whose length a CGI program must know", async () => {
    const exchange = arriving({}, "cgi");
    expect(exchange).toBeInstanceOf(Promise);
    const { body, extras } = await exchange;
    expect(Buffer.from(await bytesOf(body)).toString()).toBe("later");
    expect(extras.environment).toMatchObject({ CONTENT_LENGTH: "5" });
  });

  test("has no limit of the output with `stream`, unless the answer is stored or has no body", async () => {
    const fn = { ...functionOf("f"), stream: true };
    const limit = async (more: object) =>
      (await STDIO.exchange({ ...call(), function: fn, ...more }, 0)).response_limit;
    expect(await limit({})).toBe(Infinity);
    expect(await limit({ collect: true })).toBeUndefined();
    expect(await limit({ request: { ...call().request, method: "HEAD" } })).toBeUndefined();
  });

  test("notes what had no room", async () => {
    const headers = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`x-${index}`, "y".repeat(60_000)]));
    const request = { ...call().request, headers };
    const exchange = await STDIO.exchange({ ...call(), request }, 0);
    const output = exchange.readOutput?.(facts(), DEAF);
    output?.push(Buffer.from("x"));
    expect(output?.judge(EXIT).logs).toMatchObject([
      { text: expect.stringMatching(/^slipway: no room for the variables HTTP_X_17, .* and 13 more\n$/) },
    ]);
  });
});
