import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { answerOf, chaosFunctions } from "./support/answers.ts";

const MIB = 1024 * 1024;

let server: TestServer;
let chaos: Function;
let tight: Function;

beforeAll(async () => {
  server = await TestServer.start();
  ({ chaos, tight } = await chaosFunctions(server));
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const call = (fn: Pick<Function, "id">, request: object | string) => answerOf(server, fn, request);

describe("a function finds", () => {
  test("its environment, its context, and nothing of ours", async () => {
    const environment = { GREETING: "hello", LINES: "one\ntwo\n", EMPTY: "", EQUALS: "a=b=c", REQUEST: "mine" };
    const fn = await server.createFunction(await fixture("chaos"), { environment });
    const { json, id } = await call(fn, { do: "env" });
    const seen = json();
    expect(seen["environment"]).toMatchObject({ ...environment, REQUEST_ID: id, CONTEXT_PATH: `/tmp/context/${id}` });
    expect(seen).toMatchObject({ response_before: "{}", stdin_bytes: 0, context_mode: 0o777, uid: 0, umask: 0o022 });
    expect(seen["context"]).toEqual(expect.arrayContaining(["request.json", "response.json"]));
    expect(seen["fds"]).toEqual(["0", "1", "2"]);
  });

  test("a request of 6 MiB byte for byte, and an empty one as {}", async () => {
    const big = `"${"x".repeat(6 * MIB - 2)}"`;
    expect((await call(chaos, big)).text === big).toBe(true);
    expect((await call(chaos, "")).text).toBe("{}");
    const tooBig = await call(chaos, `${big} `);
    expect(tooBig.status).toBe(413);
    expect(tooBig.json()).toMatchObject({ reason: "payload_too_large" });
  });

  test("nothing of an earlier call", async () => {
    await call(chaos, { do: "write", path: "/left-behind", bytes: 10 });
    const { json } = await call(chaos, { do: "env" });
    expect(json()["root"]).not.toContain("left-behind");
  });
});

describe("the caller's answer when a function", () => {
  test.each([
    [{ do: "exit", code: 3 }, 502, "function_failed", "exited with code 3"],
    [
      { do: "exit", code: 3, response: "nope" },
      502,
      "invalid_response",
      "exited with code 3, and response.json is not JSON",
    ],
    [{ do: "signal", signal: 11 }, 502, "function_failed", "signal 11"],
    [{ do: "sleep" }, 504, "function_timeout", "1500 ms"],
    [{ do: "ignore_term" }, 504, "function_timeout", "1500 ms"],
    [{ do: "busy_loop" }, 504, "function_timeout", "1500 ms"],
    [{ do: "response", kind: "missing" }, 502, "invalid_response", "gone"],
    [{ do: "response", kind: "empty" }, 502, "invalid_response", "empty"],
    [{ do: "response", kind: "truncated" }, 502, "invalid_response", "not JSON"],
    [{ do: "response", kind: "not_json" }, 502, "invalid_response", "not JSON"],
    [{ do: "response", kind: "invalid_utf8" }, 502, "invalid_response", "not JSON"],
    [{ do: "response", kind: "sparse" }, 502, "response_too_large", "6291456 bytes"],
    [{ do: "response", kind: "big", bytes: 6 * MIB + 1 }, 502, "response_too_large", "6291456 bytes"],
    [{ do: "response", kind: "symlink" }, 502, "invalid_response", "not a regular file"],
    [{ do: "response", kind: "fifo" }, 502, "invalid_response", "not a regular file"],
    [{ do: "response", kind: "socket" }, 502, "invalid_response", "not a regular file"],
    [{ do: "response", kind: "directory" }, 502, "invalid_response", "not a regular file"],
  ])("%j: %i %s", async (request, status, reason, message) => {
    const answer = await call(tight, request);
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({ success: false, data: null, reason, request_id: answer.id });
    expect(String(answer.json()["message"])).toContain(message);
    expect(await server.invocation(answer.id)).toMatchObject({ reason });
  });

  test("exits non-zero with a response: 500 and its bytes", async () => {
    const { status, text, response, id } = await call(chaos, { do: "exit", code: 3, response: '{"error": "mine"}' });
    expect({ status, text }).toEqual({ status: 500, text: '{"error": "mine"}' });
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-function-exit-code")).toBe("3");
    expect(await server.invocation(id)).toMatchObject({ status: "failed", reason: "function_failed", exit_code: 3 });
  });

  test("answers with numbers beyond 2^53: unchanged", async () => {
    const { status, text } = await call(chaos, { do: "response", kind: "integers" });
    expect({ status, text }).toEqual({ status: 200, text: '{"id": 9223372036854775807,  "n": 1.0e2}\n' });
  });

  test("answers with 6 MiB", async () => {
    const { status, text } = await call(chaos, { do: "response", kind: "big", bytes: 6 * MIB });
    expect({ status, length: text.length }).toEqual({ status: 200, length: 6 * MIB });
  });

  test("ends while a grandchild holds its output: sent at once", async () => {
    const { status, response } = await call(chaos, { do: "grandchild" });
    expect(status).toBe(200);
    const run = /run;dur=([\d.]+)/.exec(response.headers.get("server-timing") ?? "")?.[1];
    expect(Number(run)).toBeLessThan(10_000);
  });
});

describe("the record of a call", () => {
  test("has exit code, times, resources and sizes", async () => {
    const { id } = await call(chaos, { do: "echo" });
    const record = await server.invocation(id);
    expect(record).toMatchObject({
      id,
      function_id: chaos.id,
      route_id: null,
      image_id: chaos.image_id,
      status: "succeeded",
      reason: null,
      exit_code: 0,
      signal: null,
      start: "cold",
      request_bytes: 13,
      response_bytes: 13,
      log_dropped_bytes: 0,
    });
    for (const field of ["queue_ms", "start_ms", "run_ms", "cpu_ms", "peak_memory_bytes"] as const) {
      expect(record[field]).toBeGreaterThanOrEqual(0);
    }
  });

  test("distinguishes stdout and stderr", async () => {
    const fn = await server.createFunction(await fixture("chaos"));
    const { id } = await call(fn, { do: "log", stream: "both", text: "héllo\n" });
    expect((await server.logs(id)).entries.toSorted((a, b) => a.stream.localeCompare(b.stream))).toEqual([
      { stream: "stderr", text: "héllo\n", time: expect.any(String) },
      { stream: "stdout", text: "héllo\n", time: expect.any(String) },
    ]);
  });

  test.each(["plain", "nul", "ansi", "invalid_utf8", "frames"])("keeps 64 KiB of 1 GB of %s", async (kind) => {
    const bytes = kind === "plain" ? 1e9 : 1e6;
    const { status, id } = await call(chaos, { do: "log", kind, bytes });
    expect(status).toBe(200);
    expect(await server.invocation(id)).toMatchObject({ log_bytes: 65_536 });
    const { entries, dropped_bytes } = await server.logs(id);
    expect(entries.map(({ text }) => text).join("").length).toBeGreaterThan(0);
    expect(dropped_bytes + 65_536).toBeGreaterThan(bytes - 100);
    // C9: the beginning and the end.
    expect(entries.flatMap(({ dropped_before_bytes = 0 }) => dropped_before_bytes)).toContain(dropped_bytes);
  });

  test("has the output of a function after SIGTERM", async () => {
    const { status, id } = await call(tight, { do: "ignore_term" });
    expect(status).toBe(504);
    expect(await server.invocation(id)).toMatchObject({ status: "timed_out" });
    expect((await server.logs(id)).entries).toMatchObject([{ stream: "stdout", text: "ignoring SIGTERM\n" }]);
  });

  test("lists by function and status, newest first", async () => {
    const fn = await server.createFunction(await fixture("chaos"));
    for (const code of [0, 1, 0]) await call(fn, { do: "exit", code });
    const list = (query: string) => server.api("GET", `/v1/invocations?function_id=${fn.id}${query}`);
    expect((await list("")).body.data).toMatchObject({
      invocations: [{ exit_code: 0 }, { exit_code: 1 }, { exit_code: 0 }],
      next_cursor: null,
    });
    expect((await list("&status=failed")).body.data).toMatchObject({ invocations: [{ exit_code: 1 }] });
  });
});
