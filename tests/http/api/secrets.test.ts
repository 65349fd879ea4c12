import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { SECRET_BYTES } from "../../../lib/domain/limits.ts";
import type { Secret } from "../../../lib/domain/secrets.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

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

describe("PUT /v1/secrets/:name", () => {
  test("PUT /v1/secrets/:name answers 201 with a new secret, without its value", async () => {
    const reply = await server.api<Secret>("PUT", "/v1/secrets/token", { value: "hunter2" });
    const secret = expectSuccess(reply, 201);
    expect(secret).toEqual({ name: "token", used_by: [], created_at: TIME, updated_at: TIME });
    expect(JSON.stringify(reply.body)).not.toContain("hunter2");
  });

  test("PUT /v1/secrets/:name answers 200 when it replaces a value, and keeps created_at", async () => {
    const before = await put("token", "one");
    const reply = await server.api<Secret>("PUT", "/v1/secrets/token", { value: "two" });
    const { created_at, updated_at } = expectSuccess(reply, 200);
    expect(created_at).toBe(before.created_at);
    expect(updated_at >= before.updated_at).toBe(true);
    expect(await list()).toHaveLength(1);
  });

  test.each(["a", "A.b_c-9", "_", "-", "x".repeat(63), "__proto__", "constructor"])(
    "PUT /v1/secrets/%s answers 201",
    async (name) => {
      expect((await put(name)).name).toBe(name);
      expect(expectSuccess(await server.api<Secret>("GET", `/v1/secrets/${name}`)).name).toBe(name);
    },
  );

  test.each([".hidden", "a%20b", "a%2fb", "%c3%bc", "x".repeat(64), "a%0a", "a:b", "%00"])(
    "PUT /v1/secrets/%s answers 400: a file could not have that name",
    async (name) => {
      const reply = await server.api("PUT", `/v1/secrets/${name}`, { value: "x" });
      expectError(reply, { status: 400, reason: "invalid_request" });
      expect(reply.body.message).toStartWith('Invalid "name": it must be ');
    },
  );

  test.each<[what: string, value: string]>([
    ["the empty one", ""],
    ["white space", " \n"],
    ["a NUL", "a\0b"],
    ["a byte order mark", "\ufeff"],
    ["a character beyond the first plane", "\u{1f511}"],
    ["the longest", "x".repeat(SECRET_BYTES)],
    ["the longest that is not ASCII", "ü".repeat(SECRET_BYTES / 2)],
  ])("PUT /v1/secrets/:name accepts any text: %s", async (_, value) => {
    await put("any", value);
  });

  test.each<[what: string, body: unknown, message: string]>([
    ["no body", undefined, "The request has no body: send a JSON object"],
    ["no object", '"hunter2"', "The body must be a JSON object"],
    ["a list", ["hunter2"], "The body must be a JSON object"],
    ["no JSON", "hunter2", "The request body is not JSON: Unexpected identifier"],
    ["no value", {}, 'Missing "value": it must be a string'],
    ["a number", { value: 271828 }, 'Invalid "value": it must be a string'],
    ["null", { value: null }, 'Invalid "value": it must be a string'],
    ["an unknown field", { value: "hunter2", name: "x" }, 'Unknown field "name": did you mean "value"?'],
    [
      "half a character",
      { value: "\ud800" },
      "The value contains half of a surrogate pair, which is not text: encode it, for example in base64",
    ],
    [
      "too much",
      { value: "ü".repeat(SECRET_BYTES / 2) + "x" },
      `The value has ${SECRET_BYTES + 1} bytes: at most ${SECRET_BYTES} are allowed`,
    ],
  ])("PUT /v1/secrets/:name answers 400 to %s, and shows none of it", async (_, body, message) => {
    const reply = await server.api("PUT", "/v1/secrets/token", body);
    const known = message.startsWith("Unknown field") ? reply.body.message : message;
    expectError(reply, { status: 400, reason: "invalid_request", message: known });
    expect(JSON.stringify(reply.body)).not.toMatch(/hunter2|271828/);
    expect(await list()).toEqual([]);
  });

  test("PUT /v1/secrets/:name answers 409 to a value that a function using it could not be given", async () => {
    await put("token");
    await server.createFunction(image, { name: "reader", secrets: [{ name: "token", environment: "TOKEN" }] });
    expectError(await server.api("PUT", "/v1/secrets/token", { value: "a\0b" }), {
      status: 409,
      reason: "conflict",
      message:
        'Cannot give the function "reader" this value: it is given to it as the variable "TOKEN", and no variable can hold a NUL',
    });
  });

  test("PUT /v1/secrets/:name answers 409 when the secrets of a function would be too large together", async () => {
    const names = Array.from({ length: 9 }, (_, index) => `part-${index}`);
    for (const name of names) await put(name, "x".repeat(name === "part-8" ? 10 : SECRET_BYTES));
    await server.createFunction(image, {
      name: "hoarder",
      secrets: names.map((name) => ({ name, environment: null })),
    });
    expectError(await server.api("PUT", "/v1/secrets/part-8", { value: "x".repeat(SECRET_BYTES) }), {
      status: 409,
      reason: "conflict",
      message: `Cannot give the function "hoarder" this value: its secrets have ${9 * SECRET_BYTES} bytes in total: at most 524288 are allowed`,
    });
    await put("part-8", "y".repeat(524288 - 8 * SECRET_BYTES));
  });

  test("PUT /v1/secrets/:name a hundred times concurrently creates one", async () => {
    const values = Array.from({ length: 100 }, (_, index) => `value ${index}`);
    const replies = await Promise.all(values.map((value) => server.api("PUT", "/v1/secrets/contested", { value })));
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(99);
  });
});

describe("GET /v1/secrets", () => {
  test("GET /v1/secrets answers [] when there are none", async () => {
    const response = await fetch(`${server.url}/v1/secrets`);
    expect(await response.text()).toBe('{"success":true,"message":"success","data":[]}');
  });

  test("GET /v1/secrets lists them by name with their users, without values", async () => {
    for (const name of ["b", "a", "c"]) await put(name, "hunter2");
    const first = await server.createFunction(image, {
      name: "first",
      secrets: [
        { name: "a", environment: null },
        { name: "a", environment: "A" },
        { name: "b", environment: "B" },
      ],
    });
    const second = await server.createFunction(image, { secrets: [{ name: "a", environment: "A" }] });
    const reply = await server.api<Secret[]>("GET", "/v1/secrets");
    expect(expectSuccess(reply)).toEqual([
      {
        name: "a",
        created_at: TIME,
        updated_at: TIME,
        used_by: [
          {
            id: first.id,
            name: "first",
          },
          {
            id: second.id,
            name: null,
          },
        ],
      },
      { name: "b", used_by: [{ id: first.id, name: "first" }], created_at: TIME, updated_at: TIME },
      { name: "c", used_by: [], created_at: TIME, updated_at: TIME },
    ]);
    expect(JSON.stringify(reply.body)).not.toContain("hunter2");
  });
});

describe("GET /v1/secrets/:name", () => {
  test("GET /v1/secrets/:name shows its users, without the value", async () => {
    await put("token", "hunter2");
    const { id } = await server.createFunction(image, { secrets: [{ name: "token", environment: null }] });
    const reply = await server.api<Secret>("GET", "/v1/secrets/token");
    expect(expectSuccess(reply)).toEqual({
      name: "token",
      created_at: TIME,
      updated_at: TIME,
      used_by: [
        {
          id,
          name: null,
        },
      ],
    });
    expect(JSON.stringify(reply.body)).not.toContain("hunter2");
  });

  test.each(["unknown", "TOKEN", "a%2fb", "%2e%2e%2ftoken"])("GET /v1/secrets/%s answers 404", async (name) => {
    await put("token");
    expectError(await server.api("GET", `/v1/secrets/${name}`), {
      status: 404,
      reason: "not_found",
      message: `No secret ${JSON.stringify(decodeURIComponent(name))}: GET /v1/secrets lists them`,
    });
  });
});

describe("DELETE /v1/secrets/:name", () => {
  test("DELETE /v1/secrets/:name returns what it deleted, once", async () => {
    const secret = await put("token");
    expect(expectSuccess(await server.api("DELETE", "/v1/secrets/token"))).toEqual(secret);
    expectError(await server.api("DELETE", "/v1/secrets/token"), { status: 404, reason: "not_found" });
    expect(await list()).toEqual([]);
  });

  test.each<[users: readonly (string | null)[], message: string]>([
    [["one"], 'the function "one" uses it'],
    [["one", "two"], 'the functions "one", "two" use it'],
    [["a", "b", "c", "d", "e", "f", "g"], 'the functions "a", "b", "c", "d", "e" and 2 more use it'],
  ])("DELETE /v1/secrets/:name answers 409 while %j use it", async (users, message) => {
    await put("token");
    for (const name of users)
      await server.createFunction(image, { name, secrets: [{ name: "token", environment: null }] });
    expectError(await server.api("DELETE", "/v1/secrets/token"), {
      status: 409,
      reason: "conflict",
      message: `Cannot delete secret "token": ${message}; take it out of "secrets" there, or use ?force=true: calls that need it then fail`,
    });
    expect(await list()).toHaveLength(1);
  });

  test("DELETE /v1/secrets/:name?force=true deletes one that functions use", async () => {
    await put("token");
    const { id } = await server.createFunction(image, { secrets: [{ name: "token", environment: null }] });
    const deleted = expectSuccess(await server.api<Secret>("DELETE", "/v1/secrets/token?force=true"));
    expect(deleted.used_by).toEqual([{ id, name: null }]);
    expect(await list()).toEqual([]);
  });

  test.each([
    ["force=yes", 'Invalid "force": it must be "true" or "false", but it is "yes"'],
    ["cascade=true", 'Unknown query parameter "cascade": expected "force"'],
  ])("DELETE /v1/secrets/:name?%s answers 400", async (query, message) => {
    await put("token");
    const reply = await server.api("DELETE", `/v1/secrets/token?${query}`);
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });
});

describe("without the API key", () => {
  let locked: TestServer;
  beforeAll(async () => {
    locked = await TestServer.start({ API_KEY: "nobody-knows" });
  });
  afterAll(() => locked[Symbol.asyncDispose]());

  test.each([
    ["GET", "/v1/secrets", undefined],
    ["GET", "/v1/secrets/token", undefined],
    ["PUT", "/v1/secrets/token", { value: "x" }],
    ["PUT", "/v1/secrets/.bad", "no JSON"],
    ["DELETE", "/v1/secrets/token", undefined],
    ["DELETE", "/v1/secrets/token?force=maybe", undefined],
  ])("%s %s answers 401", async (method, path, body) => {
    expectError(await locked.api(method, path, body), { status: 401, reason: "unauthorized" });
  });
});
