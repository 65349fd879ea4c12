import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bytesOf, type FunctionRequest, plainRequest } from "../../../lib/domain/calls/http-message.ts";
import type { Reason } from "../../../lib/domain/errors.ts";
import type { SecretValues } from "../../../lib/domain/secrets.ts";
import type { ExitFrame } from "../../../lib/runner/gate-protocol/frames.ts";
import { FILES, headOf, judge } from "../../../lib/runner/contracts/files.ts";
import { LogCollector } from "../../../lib/runner/instance/log-collector.ts";
import type { Outcome, RunFacts } from "../../../lib/runner/instance/outcome.ts";
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
  bodyFile: false,
  responseState: "fine",
  responseBytes: 2,
};

const NO_META = new Uint8Array(0);

function facts(): RunFacts {
  return { logs: new LogCollector(() => 0), timeout_ms: 1_000, response_limit: 100, command: ["/bin/function", "x"] };
}

/** The caller's answer: the function's own bytes, or a reason. */
type Answer = readonly ["succeeded" | "failed", Reason | null, "bytes" | null];

describe("judge returns the answers of the table", () => {
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
    ["not a regular file", { responseState: "no_regular_file" }, "", ["failed", "invalid_response", null]],
    ["an unreadable file", { responseState: "unreadable" }, "", ["failed", "invalid_response", null]],
    ["too much", { responseState: "over_limit" }, "", ["failed", "response_too_large", null]],
    ["too much and exit 1", { responseState: "over_limit", exitCode: 1 }, "", ["failed", "response_too_large", null]],
    ["an empty file", {}, "", ["failed", "invalid_response", null]],
    ["a cut file", {}, '{"a":', ["failed", "invalid_response", null]],
    ["not JSON", {}, "<html>", ["failed", "invalid_response", null]],
    ["not JSON and exit 1", { exitCode: 1 }, "<html>", ["failed", "invalid_response", null]],
    ["not UTF-8", {}, Uint8Array.of(0x22, 0xff, 0x22), ["failed", "invalid_response", null]],
    ["killed for its memory", { signal: 9, oomKills: 1 }, "{}", ["failed", "out_of_memory", null]],
    ["a shell whose child was", { exitCode: 137, oomKills: 1 }, "{}", ["failed", "out_of_memory", null]],
    ["a child was, and it coped", { oomKills: 1 }, "[1]", ["succeeded", null, "bytes"]],
    ["SIGKILL of another origin", { signal: 9 }, "{}", ["failed", "function_failed", null]],
  ])("%s", (_, exit, response, [status, reason, bytes]) => {
    const sent = Buffer.from(response);
    const outcome = judge({ ...EXIT, ...exit }, { response: sent, meta: NO_META }, facts());
    expect(outcome).toMatchObject({ status, reason, cpu_ms: 2, peak_memory_bytes: 4096, log_dropped_bytes: 7 });
    expect(outcome.response?.body ?? null).toEqual(bytes === null ? null : sent);
    expect(outcome.message === null).toBe(status === "succeeded");
    const { signal = 0, exitCode = 0 } = exit;
    expect([outcome.exit_code, outcome.signal]).toEqual(signal === 0 ? [exitCode, null] : [null, signal]);
  });

  test("and passes any JSON on byte for byte", () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom("", " ", "\n"), (json, space) => {
        const sent = Buffer.from(space + json + space);
        expect(judge(EXIT, { response: sent, meta: NO_META }, facts()).response?.body).toEqual(sent);
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
    [
      "a meta file that is not a regular file",
      { metaState: "no_regular_file" },
      "{}",
      "",
      ["failed", "invalid_response", null],
    ],
    ["too much meta", { metaState: "over_limit" }, "{}", "", ["failed", "invalid_response", null]],
    ["unreadable meta", { metaState: "unreadable" }, "{}", "", ["failed", "invalid_response", null]],
    ["a body file of any bytes", BODY, "<html>", "", ["succeeded", null, "bytes"]],
    ["an empty body file", BODY, "", "", ["succeeded", null, "bytes"]],
    ["a body file and exit 1", { ...BODY, exitCode: 1 }, "{}", "", ["failed", "function_failed", "bytes"]],
    [
      "a body file that is not a regular file",
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
    expect(outcome.response?.body ?? null).toEqual(bytes === null ? null : files.response);
    const succeeded = exit.metaState === "fine" ? 201 : 200;
    expect(outcome.response?.status).toBe(bytes === null ? undefined : status === "succeeded" ? succeeded : 500);
    const type = exit.bodyFile === true ? "application/octet-stream" : "application/json";
    expect(outcome.response?.headers).toEqual(bytes === null ? undefined : [["content-type", type]]);
  });

  test("names the file in its message", () => {
    const messageOf = (exit: Partial<ExitFrame>, meta = "") =>
      judge({ ...EXIT, ...exit }, { response: Buffer.from("{}"), meta: Buffer.from(meta) }, facts()).message;
    expect(messageOf({ ...BODY, responseState: "over_limit" })).toContain(
      "response.body is over the limit of 100 bytes",
    );
    expect(messageOf({ metaState: "over_limit" })).toContain("response.meta.json is over the limit of 65536 bytes");
    expect(messageOf(META, '{"status": 99}')).toContain(
      'response.meta.json has a "status" that is a number: give a whole number',
    );
  });

  test("lists the headers that were left out in the function's log", () => {
    const meta = Buffer.from('{"headers": {"Connection": "close", "X-A": "b"}}');
    const outcome = judge({ ...EXIT, ...META }, { response: Buffer.from("{}"), meta }, facts());
    expect(outcome.response?.headers).toEqual([
      ["x-a", "b"],
      ["content-type", "application/json"],
    ]);
    expect(outcome.logs).toEqual([
      {
        stream: "stderr",
        text: 'slipway: the header "connection" of response.meta.json is left out: it is about one connection only\n',
        time: "1970-01-01T00:00:00.000Z",
      },
    ]);
  });

  test.each([
    "hunter2",
    '{"a": hunter2}',
    '{"a": "hunter2',
    '"\\hunter2"',
    "\u{feff}hunter2",
    "'hunter2'",
    '"\\uhunter2"',
    "#hunter2",
    "1 hunter2",
  ])("quotes nothing of a response that is not JSON: %j", (text) => {
    const outcome = judge({ ...EXIT }, { response: Buffer.from(text), meta: NO_META }, facts());
    expect(outcome.reason).toBe("invalid_response");
    const why = /^The function exited with code 0, and response\.json is not JSON: (.*): see its logs$/.exec(
      outcome.message ?? "",
    );
    expect(KNOWN_WORDS).toContain(why?.[1] ?? "");
  });

  test.each(["{}", '{"a": 12345678901234567890}', "[]", '"x"'])("sends %s without its byte order mark", (json) => {
    const response = Buffer.from(`\u{feff}${json}`);
    const outcome = judge({ ...EXIT }, { response, meta: NO_META }, facts());
    expect(outcome.status).toBe("succeeded");
    expect(Buffer.from(bytesIn(outcome)).toString()).toBe(json);
    // Other files are passed on as they are.
    const other = judge({ ...EXIT, bodyFile: true }, { response, meta: NO_META }, facts());
    expect(Buffer.from(bytesIn(other))).toEqual(response);
  });
});

describe("headOf", () => {
  test.each<[string, boolean, boolean, (readonly [string, string])[], number, string | undefined]>([
    ["response.json", false, true, [], 201, "application/json"],
    ["response.body", true, true, [], 201, "application/octet-stream"],
    ["a function that failed", false, false, [], 500, "application/json"],
    ["a type of its own", true, false, [["content-type", "text/html"]], 500, "text/html"],
  ])("of %s", (_, bodyFile, success, headers, status, type) => {
    const head = headOf({ status: 201, headers }, bodyFile, success);
    expect([head.status, new Map(head.headers).get("content-type")]).toEqual([status, type]);
  });

  test.each([204, 205, 304])("sets no content type for an answer with status %d, as it has no body", (status) => {
    expect(headOf({ status, headers: [["etag", "1"]] }, true, true)).toEqual({ status, headers: [["etag", "1"]] });
    expect(headOf({ status, headers: [] }, true, false).headers).toHaveLength(1);
  });
});

describe("FILES.exchange", () => {
  const NOW = Date.UTC(2026, 0, 31);
  const VIA = {
    path: "/hello/a b",
    path_rest: "a b",
    route: "/hello/*",
    query: { x: ["1"] },
    query_string: "x=1",
    client_address: "127.0.0.1",
  };
  const fn = { ...functionOf("f"), name: null, version: 3, timeout_ms: 1_500 };

  function exchange(request: Partial<FunctionRequest>, secrets: Partial<SecretValues> = {}) {
    const whole = { ...plainRequest(new Uint8Array(0)), ...request };
    return FILES.exchange(
      { id: "r", function: fn, request: whole, secrets: { environment: {}, files: [], ...secrets } },
      NOW,
    );
  }

  test("writes request.meta.json for a request that came by HTTP, its fields in their order", async () => {
    const { extras } = await exchange({ method: "PUT", url: "/r/hello/a%20b?x=1", headers: { host: "h" }, via: VIA });
    expect(extras.files.map(({ place, name }) => [place, name])).toEqual([["context", "request.meta.json"]]);
    expect(Buffer.from(extras.files[0]?.bytes ?? []).toString()).toBe(
      '{"method":"PUT","url":"/r/hello/a%20b?x=1","path":"/hello/a b","path_rest":"a b","route":"/hello/*",' +
        '"query":{"x":["1"]},"query_string":"x=1","headers":{"host":"h"},"client_address":"127.0.0.1",' +
        '"request_id":"r","function":{"id":"f","name":null,"version":3},"timeout_ms":1500,' +
        '"deadline":"2026-01-31T00:00:01.500Z"}',
    );
  });

  test("writes no request.meta.json for any other call", async () => {
    expect((await exchange({})).extras.files).toEqual([]);
  });

  test("sets the variables of a trace only for a call that is in one", async () => {
    expect((await exchange({})).extras.defaults).toBeUndefined();
    const headers = { traceparent: "00-a-b-01", tracestate: "v=1" };
    expect((await exchange({ headers })).extras.defaults).toEqual({ TRACEPARENT: "00-a-b-01", TRACESTATE: "v=1" });
  });

  test.each<[string | undefined, string, boolean]>([
    ["application/json", "{}", false],
    ["application/problem+json; charset=utf-8", "{}", false],
    ["text/plain", "{}", true],
    ["application/x-www-form-urlencoded", "", true],
    ["", "{}", true],
    [undefined, "{}", true],
    [undefined, "", false],
  ])("with the content type %j and the body %j gives request.body: %p", async (type, text, expected) => {
    const headers = type === undefined ? {} : { "content-type": type };
    const { body, body_file } = await exchange({ headers, body: Buffer.from(text) });
    expect([Buffer.from(await bytesOf(body)).toString(), body_file]).toEqual([text, expected]);
  });

  test("waits for a body that is still arriving, but not for one that has arrived", async () => {
    expect(exchange({ body: Buffer.from("{}") })).not.toBeInstanceOf(Promise);
    const body = new Response("as it arrives").body ?? undefined;
    const arrived = exchange(body === undefined ? {} : { body });
    expect(arrived).toBeInstanceOf(Promise);
    expect(Buffer.from(await bytesOf((await arrived).body)).toString()).toBe("as it arrives");
  });

  test("hands over secrets as variables and files, and has their values masked", async () => {
    const { extras, secrets } = await exchange({}, { environment: { A: "1" }, files: [{ name: "b", value: "2" }] });
    expect(extras.environment).toEqual({ A: "1" });
    expect(extras.files).toEqual([{ place: "secrets", name: "b", bytes: Buffer.from("2") }]);
    expect(secrets).toEqual(["1", "2"]);
  });
});

const KNOWN_WORDS = [
  "Unexpected identifier",
  "Unterminated string",
  "Invalid escape character",
  "Single quotes (') are not allowed in JSON",
  "Unrecognized token",
  "its syntax is wrong",
];

function bytesIn({ response }: Outcome): Uint8Array {
  if (!(response?.body instanceof Uint8Array)) throw new Error("There is no response, or one that is still arriving");
  return response.body;
}
