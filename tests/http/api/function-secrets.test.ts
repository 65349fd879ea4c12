import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { SECRET_BYTES } from "../../../lib/domain/limits.ts";
import type { Secret } from "../../../lib/domain/secrets.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start();
  image = await fixture("static");
});

afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  for (const { id } of expectSuccess(await server.api<Function[]>("GET", "/v1/functions")))
    await server.api("DELETE", `/v1/functions/${id}`);
  for (const { name } of await list()) await server.api("DELETE", `/v1/secrets/${name}`);
});

async function list(): Promise<Secret[]> {
  return expectSuccess(await server.api<Secret[]>("GET", "/v1/secrets"));
}

async function put(name: string, value = "value"): Promise<Secret> {
  const reply = await server.api<Secret>("PUT", `/v1/secrets/${name}`, { value });
  return expectSuccess(reply, reply.status === 200 ? 200 : 201);
}

describe("secrets of a function", () => {
  const bad: [what: string, settings: object, message: string][] = [
    [
      "an unknown secret",
      { secrets: [{ name: "nowhere", environment: null }] },
      'there is no secret "nowhere": PUT /v1/secrets/nowhere first',
    ],
    [
      "a file twice",
      {
        secrets: [
          { name: "token", environment: null },
          { name: "token", environment: null },
        ],
      },
      'the file "token" appears twice: leave one of them out',
    ],
    [
      "a variable twice",
      {
        secrets: [
          { name: "token", environment: "X" },
          { name: "other", environment: "X" },
        ],
      },
      'the variable "X" appears twice: leave one of them out',
    ],
    [
      "a reserved variable",
      { secrets: [{ name: "token", environment: "REQUEST_ID" }] },
      '"REQUEST_ID" is set by the server: choose another variable',
    ],
    [
      "the other reserved one",
      { secrets: [{ name: "token", environment: "CONTEXT_PATH" }] },
      '"CONTEXT_PATH" is set by the server: choose another variable',
    ],
    [
      "a variable that environment has, too",
      { environment: { X: "1" }, secrets: [{ name: "token", environment: "X" }] },
      'the variable "X" is in "environment" too: remove one of them',
    ],
    [
      "a NUL for a variable",
      { secrets: [{ name: "binary", environment: "X" }] },
      'the secret "binary" holds a NUL, which no variable can: give it as a file',
    ],
    [
      "variables beyond what the kernel takes",
      {
        environment: {
          A: "a".repeat(120_000),
          B: "b".repeat(120_000),
          C: "c".repeat(120_000),
          D: "d".repeat(120_000),
        },
        secrets: [{ name: "large", environment: "X" }],
      },
      "its variables have 544015 bytes in total: at most 524288 are allowed; make some secrets files",
    ],
  ];

  beforeEach(async () => {
    await put("token");
    await put("other");
    await put("binary", "a\0b");
    await put("large", "x".repeat(SECRET_BYTES));
  });

  test.each(bad)("POST /v1/functions answers 400 to %s", async (_, settings, message) => {
    expectError(await server.api("POST", "/v1/functions", { image, ...settings }), {
      status: 400,
      reason: "invalid_request",
      message: `Invalid "secrets": ${message}`,
    });
  });

  test.each(bad)("PATCH /v1/functions/:id answers 400 to %s", async (_, settings, message) => {
    const { id } = await server.createFunction(image);
    expectError(await server.api("PATCH", `/v1/functions/${id}`, settings), {
      status: 400,
      reason: "invalid_request",
      message: `Invalid "secrets": ${message}`,
    });
    expect(expectSuccess(await server.api<Function>("GET", `/v1/functions/${id}`)).secrets).toEqual([]);
  });

  test.each<[secrets: unknown, message: string]>([
    [[{ name: "token" }], 'Missing "secrets/0/environment": it must be '],
    [["token"], 'Invalid "secrets/0": it must be an object, but it is "token"'],
    [[{ name: "../x", environment: null }], 'Invalid "secrets/0/name": it must be '],
    [[{ name: "token", environment: "A=B" }], 'Invalid "secrets/0/environment": it must be '],
    [[{ name: "token", environment: null, value: "x" }], 'Unknown field "secrets/0/value"'],
  ])("POST /v1/functions answers 400 to secrets %j", async (secrets, message) => {
    const reply = await server.api("POST", "/v1/functions", { image, secrets });
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith(message);
  });

  test("PATCH of secrets or environment is checked against the other one", async () => {
    const secrets = [{ name: "token", environment: "X" }];
    const { id } = await server.createFunction(image, { secrets });
    const conflict = {
      status: 400,
      reason: "invalid_request",
      message: 'Invalid "secrets": the variable "X" is in "environment" too: remove one of them',
    };
    expectError(await server.api("PATCH", `/v1/functions/${id}`, { environment: { X: "1" } }), conflict);
    const other = await server.createFunction(image, { environment: { X: "1" } });
    expectError(await server.api("PATCH", `/v1/functions/${other.id}`, { secrets }), conflict);
    const both = { secrets, environment: null };
    expect(expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${other.id}`, both))).toMatchObject({
      secrets,
      environment: {},
    });
  });

  test("a function whose secret was deleted can be changed, and fixed", async () => {
    const { id } = await server.createFunction(image, { secrets: [{ name: "token", environment: null }] });
    await server.api("DELETE", "/v1/secrets/token?force=true");
    expectSuccess(await server.api("PATCH", `/v1/functions/${id}`, { timeout_ms: 1_000 }));
    expectError(await server.api("PATCH", `/v1/functions/${id}`, { environment: { A: "1" } }), {
      status: 400,
      reason: "invalid_request",
      message: 'Invalid "secrets": there is no secret "token": PUT /v1/secrets/token first',
    });
    expectSuccess(await server.api("PATCH", `/v1/functions/${id}`, { secrets: [] }));
  });

  test("a secret is never deleted while a function that uses it is being created", async () => {
    for (let round = 0; round < 20; round++) {
      await put("contested");
      const [made, gone] = await Promise.all([
        server.api<Function>("POST", "/v1/functions", { image, secrets: [{ name: "contested", environment: null }] }),
        server.api("DELETE", "/v1/secrets/contested"),
      ]);
      // One comes first, and the other is refused.
      expect([made.status, gone.status]).toEqual(made.status === 201 ? [201, 409] : [400, 200]);
      if (made.status === 201) await server.api("DELETE", `/v1/functions/${made.body.data.id}`);
    }
  });
});
