import { afterAll, beforeAll, expect, test } from "bun:test";
import type { InvocationLogs } from "../../../lib/domain/calls/invocations.ts";
import { eventually } from "../../support/pace.ts";
import { TestServer } from "../../support/server.ts";
import { register } from "./lambda-function.ts";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start({ WARM_MAX: "1" });
});

afterAll(() => server[Symbol.asyncDispose]());

test("a call is an event, the answer is the payload, and the surroundings are those of AWS", async () => {
  await using fn = await register(server, { name: "moved", environment: { AWS_REGION: "eu-central-1" } });
  expect(fn.warnings).toBeUndefined();
  const response = await server.invoke(fn, '{"a":1}');
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/json"]);
  const said = await response.json();
  expect(said).toMatchObject({
    event: { a: 1 },
    calls: 1,
    env: {
      AWS_LAMBDA_RUNTIME_API: "127.0.0.1:9001",
      AWS_LAMBDA_FUNCTION_NAME: "moved",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(fn.memory_bytes / 2 ** 20),
      AWS_REGION: "eu-central-1",
      AWS_DEFAULT_REGION: "eu-central-1",
      LAMBDA_TASK_ROOT: "/var/task",
    },
    headers: {
      "lambda-runtime-aws-request-id": response.headers.get("x-request-id"),
      "lambda-runtime-invoked-function-arn": "arn:aws:lambda:eu-central-1:000000000000:function:moved",
    },
  });
  // Without a body it is {}, and each call is in a process of its own.
  expect(await (await server.invoke(fn, "")).json()).toMatchObject({ event: {}, calls: 1 });
  const refused = await server.invoke(fn, "{");
  expect([refused.status, await refused.json()]).toEqual([400, expect.objectContaining({ reason: "invalid_request" })]);
});

test("each end of a call is told as AWS tells it, in the answer and in the log", async () => {
  await using fn = await register(server, { timeout_ms: 2_000, memory_bytes: 96 * 2 ** 20 });
  const calls = [
    [{ fail: "no such user" }, 500, { errorType: "TypeError", errorMessage: "no such user" }, "function_failed"],
    [{ exit: 42 }, 502, { errorType: "Runtime.ExitError", errorMessage: "exit status 42" }, "invalid_response"],
    [{ exit: 0 }, 502, { errorType: "Runtime.ExitError", errorMessage: "without providing" }, "invalid_response"],
    [{ sleep: 60_000 }, 504, { errorType: "Sandbox.Timedout", errorMessage: "after 2.00 seconds" }, "function_timeout"],
    [{ memory: 500 }, 502, { errorType: "Runtime.OutOfMemory", errorMessage: "signal: killed" }, "out_of_memory"],
  ] as const;
  for (const [event, status, { errorType, errorMessage }, reason] of calls) {
    const response = await server.invoke(fn, event);
    const id = response.headers.get("x-request-id") ?? "";
    expect([response.status, response.headers.get("x-amz-function-error")]).toEqual([status, "Unhandled"]);
    expect(await response.json()).toEqual({ errorType, errorMessage: expect.stringContaining(errorMessage) });
    expect(await server.ended(id)).toMatchObject({ reason, contract: "lambda" });
    expect(await eventually(async () => (await logOf(id)).includes(`REPORT RequestId: ${id}\tDuration: `))).toBe(true);
    const log = await logOf(id);
    expect(log).toMatch(/START RequestId: \S+ Version: 1\nevent [^]*END RequestId: /);
    if (reason === "function_timeout") expect(log).toContain("Task timed out after 2.00 seconds\nEND");
    if (reason !== "function_failed")
      expect(log).toContain(
        reason === "function_timeout" ? "\tStatus: timeout" : `\tStatus: error\tError Type: ${errorType}`,
      );
  }
});

test("an instance that is kept serves one call after another, and its memory is measured at the end of each", async () => {
  await using fn = await register(server, { max_calls: 0 });
  const first = await server.invoke(fn, {});
  await first.text();
  const second = await server.invoke(fn, { memory: 40 });
  expect(await second.json()).toMatchObject({ calls: 2 });
  const id = second.headers.get("x-request-id") ?? "";
  expect(await eventually(async () => (await logOf(id)).includes("REPORT"))).toBe(true);
  const [, measured = "0"] = /\tMax Memory Used: (\d+) MB\n/.exec(await logOf(id)) ?? [];
  expect(Number(measured)).toBeGreaterThan(40);
  expect(Number(measured)).toBeLessThan(fn.memory_bytes / 2 ** 20);
  expect((await server.ended(id)).peak_memory_bytes).toBeGreaterThan(40 * 2 ** 20);
  // One that exits is replaced.
  await (await server.invoke(fn, { exit: 1 })).text();
  expect(await (await server.invoke(fn, {})).json()).toMatchObject({ calls: 1 });
});

test("a function that cannot start says so to who registers it, and to each call in its own words", async () => {
  await using fn = await register(server, { environment: { INIT: "error" } });
  expect(fn.warnings).toEqual([expect.stringContaining("Function.NoModule: no module app")]);
  const response = await server.invoke(fn, {});
  expect(response.status).toBe(502);
  expect(await response.json()).toEqual({ errorType: "Function.NoModule", errorMessage: "no module app" });
  await using exits = await register(server, { environment: { INIT: "exit" } });
  expect(exits.warnings).toEqual([expect.stringContaining("exited with code 3 before it asked for its first call")]);
  expect(await (await server.invoke(exits, {})).json()).toMatchObject({ errorType: "Runtime.ExitError" });
});

async function logOf(id: string): Promise<string> {
  const { body } = await server.api<InvocationLogs>("GET", `/v1/invocations/${id}/logs`);
  return body.data.entries.map(({ text }) => text).join("");
}
