import { afterAll, beforeAll, expect, test } from "bun:test";
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
