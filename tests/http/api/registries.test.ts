import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Registry, RegistryImport } from "../../../lib/domain/images/registries.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

// Tests with a registry that answers are in tests/e2e/images/registries.test.ts.

const BODY = { username: "someone", password: "open sesame" } as const;
const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start();
});

afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  for (const { host } of await list()) await server.api("DELETE", `/v1/registries/${host}`);
});

async function list(): Promise<Registry[]> {
  return expectSuccess(await server.api<Registry[]>("GET", "/v1/registries"));
}

async function put(host: string, body: object = BODY): Promise<Registry> {
  const reply = await server.api<Registry>("PUT", `/v1/registries/${host}?check=false`, body);
  expect(JSON.stringify(reply.body)).not.toContain("sesame");
  return expectSuccess(reply, reply.status === 200 ? 200 : 201);
}

describe("PUT /v1/registries/:host", () => {
  test("PUT /v1/registries/:host answers 201 for a new one, and 200 when it replaces one", async () => {
    const times = { checked_at: null, created_at: TIME, updated_at: TIME };
    const first = await server.api<Registry>("PUT", "/v1/registries/ghcr.io?check=false", BODY);
    expect(expectSuccess(first, 201)).toEqual({ host: "ghcr.io", kind: "password", username: "someone", ...times });
    const body = { identity_token: "sesame" };
    const second = await server.api<Registry>("PUT", "/v1/registries/ghcr.io?check=false", body);
    expect(expectSuccess(second, 200)).toEqual({ host: "ghcr.io", kind: "identity_token", username: null, ...times });
    expect(await list()).toHaveLength(1);
  });

  test.each([
    ["127.0.0.1:5000", "127.0.0.1:5000"],
    ["127.0.0.1%3A5000", "127.0.0.1:5000"],
    ["https%3A%2F%2Findex.docker.io%2Fv1%2F", "docker.io"],
    ["registry-1.docker.io", "docker.io"],
    ["Registry.Example", "registry.example"],
  ])("PUT /v1/registries/%s stores the credentials of %s", async (name, host) => {
    expect((await put(name)).host).toBe(host);
    expect(expectSuccess(await server.api<Registry>("GET", `/v1/registries/${name}`)).host).toBe(host);
  });

  test.each(["ghcr", "import", "ghcr.io%2Fteam", "a%20b.io", "%00.io", "ghcr.io:x", ":5000", "me:hunter2@ghcr.io"])(
    "PUT /v1/registries/%s answers 400: no image can name such a host",
    async (name) => {
      const reply = await server.api("PUT", `/v1/registries/${name}?check=false`, BODY);
      expectError(reply, { status: 400, reason: "invalid_request" });
      expect(reply.body.message).toStartWith("Invalid registry ");
      expect(reply.body.message).not.toContain("hunter2");
    },
  );

  test.each<[what: string, body: unknown, message: string]>([
    ["no body", undefined, "The request has no body: send a JSON object"],
    ["no object", '"open sesame"', "The body must be a JSON object"],
    ["no JSON", "open sesame", "The request body is not JSON: Unexpected identifier"],
    ["nothing in it", {}, 'Missing "password": give "username" and "password", or "identity_token"'],
    ["no password", { username: "x" }, 'Missing "password": give "username" and "password", or "identity_token"'],
    ["no username", { password: "open sesame" }, 'Missing "username": a password needs one'],
    ["both", { ...BODY, identity_token: "sesame" }, 'Give either "password" or "identity_token", not both'],
    ["a number", { username: "x", password: 271828 }, 'Invalid "password": it must be a string'],
    ["an empty password", { username: "x", password: "" }, 'Invalid "password": it must be a string'],
    ["too long a password", { username: "x", password: "sesame".repeat(3_000) }, 'Invalid "password": it must be'],
    ["a colon in the username", { username: "a:b", password: "sesame" }, 'Invalid "username": it must be '],
    ["a newline in the username", { username: "a\nb", password: "sesame" }, 'Invalid "username": it must be '],
    ["Docker's spelling", { identitytoken: "sesame" }, 'Unknown field "identitytoken": did you mean "identity_token"?'],
    ["an unknown field", { ...BODY, user: "x" }, 'Unknown field "user": did you mean "username"?'],
  ])("PUT /v1/registries/:host answers 400 to %s, and shows no password", async (_, body, message) => {
    const reply = await server.api("PUT", "/v1/registries/ghcr.io?check=false", body);
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith(message);
    expect(JSON.stringify(reply.body)).not.toMatch(/sesame|271828/);
    expect(await list()).toEqual([]);
  });

  test.each([
    ["check=no", 'Invalid "check": it must be "true" or "false", but it is "no"'],
    ["force=true", 'Unknown query parameter "force": expected "check"'],
  ])("PUT /v1/registries/:host?%s answers 400", async (query, message) => {
    const reply = await server.api("PUT", `/v1/registries/ghcr.io?${query}`, BODY);
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });

  test("PUT /v1/registries/:host answers 502 if the registry does not answer, and 503 if the engine does not", async () => {
    expectError(await server.api("PUT", "/v1/registries/127.0.0.1:9", BODY), {
      status: 502,
      reason: "registry_unavailable",
    });
    await using lonely = await TestServer.start({ DOCKER_HOST: "unix:///nowhere/docker.sock" });
    const reply = await lonely.api("PUT", "/v1/registries/ghcr.io", BODY);
    expectError(reply, { status: 503, reason: "engine_unavailable" });
    expect(reply.body.message).toMatch(/nothing was stored.*\?check=false/);
    expectSuccess(await lonely.api("PUT", "/v1/registries/ghcr.io?check=false", BODY), 201);
    expect(await list()).toEqual([]);
  });

  test("PUT /v1/registries/:host leaves no password in the log or the database", async () => {
    await put("ghcr.io");
    await server.api("PUT", "/v1/registries/127.0.0.1:9", BODY);
    expect(server.log.filter((line) => line.includes("sesame"))).toEqual([]);
    for (const name of ["database.db", "database.db-wal"]) {
      const bytes = Buffer.from(await Bun.file(`${server.dataPath}/${name}`).bytes());
      expect([name, bytes.includes("sesame")]).toEqual([name, false]);
    }
  });
});

describe("GET /v1/registries", () => {
  test("GET /v1/registries lists them by host, without passwords", async () => {
    expect(await list()).toEqual([]);
    for (const host of ["quay.io", "docker.io", "ghcr.io"]) await put(host);
    const reply = await server.api<Registry[]>("GET", "/v1/registries");
    expect(expectSuccess(reply).map(({ host }) => host)).toEqual(["docker.io", "ghcr.io", "quay.io"]);
    expect(JSON.stringify(reply.body)).not.toContain("sesame");
  });

  test.each([
    ["GET", "unknown.example", 404, "not_found"],
    ["GET", "import", 400, "invalid_request"],
    ["DELETE", "unknown.example", 404, "not_found"],
    ["DELETE", "a%20b", 400, "invalid_request"],
  ])("%s /v1/registries/%s answers %i", async (method, host, status, reason) => {
    expectError(await server.api(method, `/v1/registries/${host}`), { status, reason });
  });
});

describe("DELETE /v1/registries/:host", () => {
  test("DELETE /v1/registries/:host returns what it deleted, once", async () => {
    const registry = await put("docker.io");
    expect(expectSuccess(await server.api("DELETE", "/v1/registries/index.docker.io"))).toEqual(registry);
    expectError(await server.api("DELETE", "/v1/registries/docker.io"), {
      status: 404,
      reason: "not_found",
      message: 'No credentials for the registry "docker.io": GET /v1/registries lists them',
    });
  });
});

describe("POST /v1/registries/import", () => {
  const auth = Buffer.from("someone:open sesame").toString("base64");

  test("POST /v1/registries/import accepts a config.json, whatever else is in it", async () => {
    const reply = await server.api<RegistryImport>("POST", "/v1/registries/import?check=false", {
      auths: { "ghcr.io": { auth }, "https://index.docker.io/v1/": { auth }, "quay.io": {} },
      HttpHeaders: { "User-Agent": "Docker-Client" },
      psFormat: "table",
    });
    const { imported, skipped } = expectSuccess(reply);
    expect(imported.map(({ host, username }) => [host, username])).toEqual([
      ["ghcr.io", "someone"],
      ["docker.io", "someone"],
    ]);
    expect(skipped).toEqual([
      { entry: "quay.io", problem: "it has no credentials; PUT /v1/registries/quay.io instead" },
    ]);
    expect(JSON.stringify(reply.body)).not.toMatch(/sesame|c2VzYW1l/);
  });

  test.each<[what: string, body: unknown, message: string]>([
    ["no body", undefined, "The request has no body: send a JSON object"],
    ["a list", [], "The body must be a JSON object"],
    ["a list of registries", { auths: [{ auth }] }, 'Invalid "auths": it must be '],
    ["a text", { auths: auth }, 'Invalid "auths": it must be '],
    ["a helper that is not a string", { credsStore: 1 }, 'Invalid "credsStore": it must be a string'],
    [
      "too many",
      { auths: Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`r${index}.example`, { auth }])) },
      'Invalid "auths": it must be ',
    ],
  ])("POST /v1/registries/import answers 400 to %s, and shows none of it", async (_, body, message) => {
    const reply = await server.api("POST", "/v1/registries/import?check=false", body);
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith(message);
    expect(JSON.stringify(reply.body)).not.toContain(auth);
  });

  test("POST /v1/registries/import answers 503 if the engine is away, and stores nothing", async () => {
    await using lonely = await TestServer.start({ DOCKER_HOST: "unix:///nowhere/docker.sock" });
    const reply = await lonely.api("POST", "/v1/registries/import", { auths: { "ghcr.io": { auth } } });
    expectError(reply, { status: 503, reason: "engine_unavailable" });
    expect((await lonely.api("GET", "/v1/registries")).body.data).toEqual([]);
  });
});

describe("without the API key", () => {
  let locked: TestServer;
  beforeAll(async () => {
    locked = await TestServer.start({ API_KEY: "nobody-knows" });
  });
  afterAll(() => locked[Symbol.asyncDispose]());

  test.each([
    ["GET", "/v1/registries", undefined],
    ["GET", "/v1/registries/ghcr.io", undefined],
    ["PUT", "/v1/registries/ghcr.io", BODY],
    ["PUT", "/v1/registries/bad", "no JSON"],
    ["DELETE", "/v1/registries/ghcr.io", undefined],
    ["POST", "/v1/registries/import", { auths: {} }],
  ])("%s %s answers 401", async (method, path, body) => {
    expectError(await locked.api(method, path, body), { status: 401, reason: "unauthorized" });
  });
});
