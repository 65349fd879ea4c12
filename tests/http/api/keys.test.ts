import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Key, NewKey } from "../../../lib/domain/keys.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const NOWHERE = "00000000-0000-4000-8000-000000000000";

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
  await server.createFunction(await fixture("static"), { name: "target" });
});

afterAll(() => server[Symbol.asyncDispose]());

async function create(body: object): Promise<NewKey> {
  return expectSuccess(await server.api<NewKey>("POST", "/v1/keys", body), 201);
}

const list = async () => expectSuccess(await server.api<Key[]>("GET", "/v1/keys"));

describe("POST /v1/keys", () => {
  test("POST /v1/keys answers 201 with the key and its token, which is shown nowhere else", async () => {
    const created = await create({ name: "ci", scopes: ["deploy", "invoke"] });
    const { token, ...key } = created;
    expect(token).toMatch(/^slipway_[\w-]{43}$/);
    expect(key).toEqual({
      id: expect.any(String),
      name: "ci",
      scopes: ["deploy", "invoke"],
      function_id: null,
      created_at: expect.any(String),
      expires_at: null,
      last_used_at: null,
      revoked_at: null,
    });
    expect(expectSuccess(await server.api<Key>("GET", `/v1/keys/${key.id}`))).toEqual(key);
    expect(await list()).toContainEqual(key);
    expect((await list()).map((one) => Object.keys(one).join())).toContain(Object.keys(key).join());
    expect(server.log.join("")).not.toContain(token);
    for (const file of await readdir(server.dataPath)) {
      const bytes = Buffer.from(await Bun.file(join(server.dataPath, file)).bytes());
      expect([file, bytes.includes(token)]).toEqual([file, false]);
    }
  });

  test("POST /v1/keys accepts a function by its name, and a time in any zone", async () => {
    const target = expectSuccess(await server.api<{ id: string }>("GET", "/v1/functions/target"));
    const body = { name: "caller", scopes: ["invoke"], function_id: "target", expires_at: "2999-01-01T01:00:00+01:00" };
    expect(await create(body)).toMatchObject({ function_id: target.id, expires_at: "2999-01-01T00:00:00.000Z" });
  });

  test.each<readonly [unknown, string]>([
    [{}, 'Missing "name"'],
    [{ name: "x" }, 'Missing "scopes"'],
    [{ name: "", scopes: ["read"] }, 'Invalid "name"'],
    [{ name: "x".repeat(64), scopes: ["read"] }, 'Invalid "name"'],
    [{ name: "a\nb", scopes: ["read"] }, 'Invalid "name"'],
    [{ name: "x", scopes: [] }, 'Invalid "scopes"'],
    [{ name: "x", scopes: "read" }, 'Invalid "scopes"'],
    [{ name: "x", scopes: ["read", "read"] }, 'Invalid "scopes"'],
    [{ name: "x", scopes: ["write"] }, '"admin", "deploy", "read" or "invoke", but it is "write"'],
    [{ name: "x", scopes: ["read"], scope: [] }, 'Unknown field "scope": did you mean "scopes"?'],
    [{ name: "x", scopes: ["read"], token: "mine" }, 'Unknown field "token"'],
    [{ name: "x", scopes: ["read"], expires_at: "soon" }, 'Invalid "expires_at" "soon": give a time such as'],
    [
      { name: "x", scopes: ["read"], expires_at: "2020-01-01" },
      'Invalid "expires_at" "2020-01-01T00:00:00.000Z": it is past',
    ],
    [{ name: "x", scopes: ["invoke"], function_id: "none" }, 'Invalid "function_id" "none": there is no such function'],
    [
      { name: "x", scopes: ["invoke", "read"], function_id: "target" },
      'A key for one function can only have the scope "invoke"',
    ],
    ["{", "The request body is not JSON"],
  ])("POST /v1/keys %j answers 400", async (body, message) => {
    const before = await list();
    const reply = await server.api("POST", "/v1/keys", body);
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toContain(message);
    expect(await list()).toEqual(before);
  });
});

describe("DELETE /v1/keys/:id", () => {
  test("DELETE /v1/keys/:id revokes the key from the next request on, and keeps its record", async () => {
    const { id, token } = await create({ name: "old", scopes: ["read"] });
    const use = () => server.api("GET", "/v1/functions", undefined, { Authorization: `Bearer ${token}` });
    expect((await use()).status).toBe(200);
    const revoked = expectSuccess(await server.api<Key>("DELETE", `/v1/keys/${id}`));
    expect([revoked.id, typeof revoked.revoked_at, typeof revoked.last_used_at]).toEqual([id, "string", "string"]);
    const refused = await use();
    expectError(refused, { status: 401, reason: "unauthorized" });
    expect(refused.body.message).toStartWith(`The API key "old" was revoked at ${revoked.revoked_at}: send another`);
    expect(await list()).toContainEqual(revoked);
    expect(expectSuccess(await server.api<Key>("DELETE", `/v1/keys/${id}`))).toEqual(revoked);
  });
});

test.each(["GET", "DELETE"])("%s /v1/keys/:id answers 404 for an unknown id", async (method) => {
  const reply = await server.api(method, `/v1/keys/${NOWHERE}`);
  expectError(reply, {
    status: 404,
    reason: "not_found",
    message: `No key "${NOWHERE}": GET /v1/keys lists them`,
  });
});

test("a key is checked even on loopback, where a request without one may do everything", async () => {
  const { token } = await create({ name: "reader", scopes: ["read"] });
  const reply = await server.api("POST", "/v1/keys", "{", { "X-API-Key": token });
  expectError(reply, { status: 403, reason: "forbidden" });
  expect((await server.api("GET", "/v1/keys")).status).toBe(200);
});

test("keys and their last use survive a restart", async () => {
  await using first = await TestServer.start();
  const reply = await first.api<NewKey>("POST", "/v1/keys", { name: "kept", scopes: ["read"] });
  const { id, token } = expectSuccess(reply, 201);
  const headers = { Authorization: `Bearer ${token}` };
  await first.api("GET", "/v1/functions", undefined, headers);
  const used = expectSuccess(await first.api<Key>("GET", `/v1/keys/${id}`)).last_used_at;
  await first.stop(0);
  await using second = await TestServer.start({ DATA_PATH: first.dataPath });
  expect(used).not.toBeNull();
  expect(expectSuccess(await second.api<Key>("GET", `/v1/keys/${id}`)).last_used_at).toBe(used);
  expect((await second.api("GET", "/v1/functions", undefined, headers)).status).toBe(200);
});
