import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { fixture } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const NOWHERE = "00000000-0000-4000-8000-000000000000";

let server: TestServer;
let image: string;

beforeAll(async () => {
  server = await TestServer.start();
  image = await fixture("static");
});

afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  for (const { id } of await list()) await server.api("DELETE", `/v1/functions/${id}?cascade=true`);
});

async function list(): Promise<Function[]> {
  return expectSuccess(await server.api<Function[]>("GET", "/v1/functions"));
}

describe("GET /v1/functions", () => {
  test("GET /v1/functions answers [] when there are none", async () => {
    const response = await fetch(`${server.url}/v1/functions`);
    expect(await response.text()).toBe('{"success":true,"message":"success","data":[]}');
    expect(response.status).toBe(200);
  });

  test("GET /v1/functions lists them, oldest first", async () => {
    const created = [await server.createFunction(image), await server.createFunction(image, { name: "second" })];
    expect(await list()).toEqual(created);
  });
});

describe("POST /v1/functions", () => {
  test("POST /v1/functions answers 201 with the whole function", async () => {
    const created = expectSuccess(await server.api<Function>("POST", "/v1/functions", { image }), 201);
    expect(created).toEqual({
      id: expect.stringMatching(UUID),
      name: null,
      image,
      image_id: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      digest: null,
      environment: {},
      version: 1,
      entrypoint: null,
      command: null,
      user: null,
      working_dir: null,
      secrets: [],
      contract: "files",
      contract_reason: "default",
      content_type: null,
      output: "raw",
      stream: false,
      port: null,
      port_reason: null,
      extra_ports: [],
      ready_path: null,
      boot_timeout_ms: 60_000,
      concurrency: 1,
      idle_timeout_ms: null,
      idle: null,
      buffer_request: false,
      timeout_ms: 30_000,
      memory_bytes: 256 * 1024 * 1024,
      cpus: 1,
      pids: 128,
      nofile: null,
      context_bytes: null,
      scratch_bytes: null,
      log_bytes: null,
      network: "bridge",
      share_network: false,
      sandbox: "default",
      runtime: null,
      read_only: false,
      volumes: [],
      labels: {},
      isolation: "container",
      max_calls: 1,
      max_concurrency: 0,
      warm_min: 0,
      warm_max: 10,
      idle_ttl_ms: 300_000,
      retry: {
        max_attempts: 3,
        min_ms: 1_000,
        max_ms: 60_000,
        on: ["crash", "timeout", "non_zero_exit", "oom", "engine"],
      },
      callback_url: null,
      on_success: null,
      on_failure: null,
      record_bodies: false,
      store_credentials: false,
      created_at: expect.stringMatching(TIME),
      updated_at: created.created_at,
    });
    expect(Object.keys(created).slice(0, 3)).toEqual(["id", "name", "image"]);
  });

  test("POST /v1/functions keeps every setting as it was sent", async () => {
    const settings = {
      name: "all-of-it",
      timeout_ms: 1500,
      memory_bytes: 64 * 1024 * 1024,
      cpus: 0.25,
      pids: 16,
      environment: {
        GREETING: "two\nlines",
        EMPTY: "",
        "odd.key": "=",
        __proto: "x",
        constructor: "y",
      },
    };
    const { id } = await server.createFunction(image, settings);
    expect(expectSuccess(await server.api("GET", `/v1/functions/${id}`))).toMatchObject({ image, ...settings });
  });

  // EDGE.md E8.
  test("a retry that is given in part has the defaults for the rest", async () => {
    const whole = {
      max_attempts: 3,
      min_ms: 1_000,
      max_ms: 60_000,
      on: ["crash", "timeout", "non_zero_exit", "oom", "engine"],
    };
    const created = await server.api<Function>("POST", "/v1/functions", { image, retry: { max_attempts: 5 } });
    const { id, retry } = expectSuccess(created, 201);
    expect(retry).toEqual({ ...whole, max_attempts: 5 } as Function["retry"]); // the same words
    for (const [given, after] of [
      [
        { min_ms: 5, on: ["oom"] },
        { ...whole, min_ms: 5, on: ["oom"] },
      ],
      [{}, whole],
    ]) {
      const changed = await server.api("PATCH", `/v1/functions/${id}`, { retry: given });
      expect(expectSuccess(changed)).toMatchObject({ retry: after });
      expect(expectSuccess(await server.api("GET", `/v1/functions/${id}`))).toMatchObject({ retry: after });
    }
    const wrong = await server.api("PATCH", `/v1/functions/${id}`, { retry: { attempts: 5 } });
    expectError(wrong, { status: 400, reason: "invalid_request" });
    expect(wrong.body.message).toStartWith('Unknown field "retry/attempts"');
  });

  test("POST /v1/functions stores a variable named __proto__", async () => {
    const body = `{"image": ${JSON.stringify(image)}, "environment": {"__proto__": "kept", "toString": "too"}}`;
    const { status } = await server.api("POST", "/v1/functions", body);
    expect(status).toBe(201);
    const text = await (await fetch(`${server.url}/v1/functions`)).text();
    expect(text).toContain('"environment":{"__proto__":"kept","toString":"too"}');
  });

  test.each([null, undefined, {}])("POST /v1/functions answers {} for the environment %j", async (environment) => {
    const created = expectSuccess(await server.api<Function>("POST", "/v1/functions", { image, environment }), 201);
    expect(created.environment).toEqual({});
  });

  test("POST /v1/functions accepts null for no name", async () => {
    const created = expectSuccess(await server.api<Function>("POST", "/v1/functions", { image, name: null }), 201);
    expect(created.name).toBeNull();
  });

  test("POST /v1/functions answers 409 when the name is taken", async () => {
    await server.createFunction(image, { name: "taken" });
    expectError(await server.api("POST", "/v1/functions", { image, name: "taken" }), {
      status: 409,
      reason: "conflict",
      message: 'A function named "taken" exists already: choose another name, or PATCH that one',
    });
  });

  test("POST /v1/functions creates one of a hundred concurrent functions with the same name", async () => {
    const replies = await Promise.all(
      Array.from({ length: 100 }, () => server.api("POST", "/v1/functions", { image, name: "one" })),
    );
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(replies.filter(({ status }) => status === 409)).toHaveLength(99);
    expect(await list()).toHaveLength(1);
  });

  const invalid: readonly (readonly [unknown, string])[] = [
    [{}, 'Missing "image": it must be a string of 1 to 512 characters'],
    [{ image: 5 }, 'Invalid "image": it must be a string of 1 to 512 characters, but it is 5'],
    [{ image: null }, 'Invalid "image": it must be a string of 1 to 512 characters, but it is null'],
    [{ image: "" }, 'Invalid "image": it must be a string of 1 to 512 characters, but it is ""'],
    [{ imgae: "x" }, 'Unknown field "imgae": did you mean "image"?'],
    [{ image: "x", timeout: 5 }, 'Unknown field "timeout": did you mean "timeout_ms"?'],
    [{ image: "x", memory: 5 }, 'Unknown field "memory": did you mean "memory_bytes"?'],
    [{ image: "x", env: {} }, 'Unknown field "env": did you mean "environment"?'],
    [
      { image: "x", id: NOWHERE },
      'Unknown field "id": expected "image", "name", "entrypoint", "command", "user", "working_dir", "secrets", "contract", "content_type", "output", "stream", "port", "ready_path", "boot_timeout_ms", "concurrency", "idle_timeout_ms", "idle", "buffer_request", "timeout_ms", "memory_bytes", "cpus", "pids", "nofile", "context_bytes", "scratch_bytes", "log_bytes", "network", "share_network", "sandbox", "runtime", "read_only", "volumes", "labels", "isolation", "max_calls", "max_concurrency", "warm_min", "warm_max", "idle_ttl_ms", "retry", "callback_url", "on_success", "on_failure", "record_bodies", "store_credentials", "environment" or "probe"',
    ],
    [
      { image: "x", timeout_ms: 99 },
      'Invalid "timeout_ms": it must be a whole number from 100 to 86400000, but it is 99',
    ],
    [
      { image: "x", timeout_ms: "5000" },
      'Invalid "timeout_ms": it must be a whole number from 100 to 86400000, but it is "5000"',
    ],
    [
      { image: "x", timeout_ms: 100.5 },
      'Invalid "timeout_ms": it must be a whole number from 100 to 86400000, but it is 100.5',
    ],
    [{ image: "x", cpus: 0 }, 'Invalid "cpus": it must be a number from 0.01 to 1024, but it is 0'],
    ['{"image": "x", "cpus": 1e999}', 'Invalid "cpus": it must be a number from 0.01 to 1024, but it is Infinity'],
    [{ image: "x", pids: 3 }, 'Invalid "pids": it must be a whole number from 4 to 32768, but it is 3'],
    [{ image: "x", environment: [] }, 'Invalid "environment": it must be an object of strings or null'],
    [{ image: "x", environment: "A=b" }, 'Invalid "environment": it must be an object of strings or null'],
    [{ image: "x", environment: { A: 1 } }, 'Invalid "environment/A": it must be a string'],
    [{ image: "x", environment: { "\u2028": 1 } }, 'Invalid "environment/\u2028": it must be a string'],
    [{ image: "x", environment: { "": "x" } }, 'Invalid "environment": a key is empty: give every variable a name'],
    [{ image: "x", environment: { "A=B": "x" } }, 'Invalid "environment": the key "A=B" contains "=": remove it'],
    [
      { image: "x", environment: { A: "a\0b" } },
      'Invalid "environment": the value of "A" contains a NUL character, which no process can receive',
    ],
    [
      { image: "x", environment: { A: "\ud800" } },
      'Invalid "environment": the value of "A" contains half of a surrogate pair, which no process can receive',
    ],
    [
      { image: "x", environment: { REQUEST_ID: "x" } },
      'Invalid "environment": "REQUEST_ID" is set by the server: choose another name',
    ],
    [
      { image: "x", name: NOWHERE },
      `Invalid "name" "${NOWHERE}": it looks like an id; choose a name that is not a UUID`,
    ],
  ];
  test.each(invalid)("POST /v1/functions answers 400 to %j: %s", async (body, message) => {
    expectError(await server.api("POST", "/v1/functions", body), { status: 400, reason: "invalid_request", message });
  });

  test.each(["", "Upper", "a b", "a_b", "é", "a".repeat(64), 5, "..", "a/b", "a\n"])(
    "POST /v1/functions answers 400 to the name %j",
    async (name) => {
      const reply = await server.api("POST", "/v1/functions", { image, name });
      expectError(reply, { status: 400, reason: "invalid_request" });
      expect(reply.body.message).toStartWith('Invalid "name": it must be a string of 1 to 63 characters');
    },
  );

  test.each(["UPPER CASE", "a:b:c", "http://example.com/x", "x@sha256:abc", "-x", "a\0b"])(
    "POST /v1/functions answers 400 to the image %j",
    async (wrong) => {
      const reply = await server.api("POST", "/v1/functions", { image: wrong });
      expectError(reply, { status: 400, reason: "invalid_request" });
      expect(reply.body.message).toStartWith(`Invalid image reference ${JSON.stringify(wrong)}: `);
    },
  );

  test("POST /v1/functions answers 400 to an image without a command", async () => {
    const reply = await server.api("POST", "/v1/functions", { image: await fixture("no-command") });
    expectError(reply, { status: 400, reason: "image_invalid" });
  });
});

describe("GET /v1/functions/:id", () => {
  test("GET /v1/functions/:id finds a function by its id and by its name", async () => {
    const created = await server.createFunction(image, { name: "findable" });
    const shown = { ...created, pool: { ready: 0, starting: 0, busy: 0, target: 0 }, version_pools: [] };
    expect(expectSuccess(await server.api("GET", `/v1/functions/${created.id}`))).toEqual(shown);
    expect(expectSuccess(await server.api("GET", "/v1/functions/findable"))).toEqual(shown);
  });

  test.each([NOWHERE, "unknown", "%2e%2e", "a%2Fb", "%00", "x".repeat(300)])(
    "GET /v1/functions/%s answers 404",
    async (id) => {
      expectError(await server.api("GET", `/v1/functions/${id}`), { status: 404, reason: "not_found" });
    },
  );
});

describe("PATCH /v1/functions/:id", () => {
  test("PATCH /v1/functions/:id changes what is named and nothing else", async () => {
    const before = await server.createFunction(image, { name: "before", environment: { A: "1" }, pids: 20 });
    const after = expectSuccess(await server.api<Function>("PATCH", "/v1/functions/before", { timeout_ms: 2000 }));
    expect(after).toEqual({ ...before, timeout_ms: 2000, version: 2, updated_at: after.updated_at });
    expect(await list()).toEqual([after]);
  });

  test("PATCH /v1/functions/:id replaces the environment as a whole, and empties it with null", async () => {
    const { id } = await server.createFunction(image, { environment: { A: "1", B: "2" } });
    const environment = async (body: object) =>
      expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${id}`, body)).environment;
    expect(await environment({ environment: { C: "3" } })).toEqual({ C: "3" });
    expect(await environment({ environment: null })).toEqual({});
  });

  test("PATCH /v1/functions/:id changes and removes a name", async () => {
    const { id } = await server.createFunction(image, { name: "old" });
    expectSuccess(await server.api("PATCH", `/v1/functions/${id}`, { name: "new" }));
    expectError(await server.api("GET", "/v1/functions/old"), { status: 404, reason: "not_found" });
    const nameless = expectSuccess(await server.api<Function>("PATCH", "/v1/functions/new", { name: null }));
    expect(nameless).toMatchObject({ id, name: null });
  });

  test("PATCH /v1/functions/:id accepts the name that the function already has", async () => {
    await server.createFunction(image, { name: "same" });
    expectSuccess(await server.api("PATCH", "/v1/functions/same", { name: "same" }));
  });

  test("PATCH /v1/functions/:id resolves a changed image", async () => {
    const { id, image_id } = await server.createFunction(image);
    const other = await fixture("nonroot");
    const changed = expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${id}`, { image: other }));
    expect(changed.image).toBe(other);
    expect(changed.image_id).not.toBe(image_id);
  });

  test("PATCH /v1/functions/:id answers 409 when the name is another's", async () => {
    await server.createFunction(image, { name: "one" });
    await server.createFunction(image, { name: "two" });
    expectError(await server.api("PATCH", "/v1/functions/two", { name: "one" }), { status: 409, reason: "conflict" });
  });

  test.each([
    [{ image: null }, 'Invalid "image": it must be a string of 1 to 512 characters, but it is null'],
    [{ pid: 5 }, 'Unknown field "pid": did you mean "pids"?'],
    [{ pids: null }, 'Invalid "pids": it must be a whole number from 4 to 32768, but it is null'],
    ["", "The request has no body: send a JSON object"],
  ])("PATCH /v1/functions/:id answers 400 to %j", async (body, message) => {
    const { id } = await server.createFunction(image);
    const reply = await server.api("PATCH", `/v1/functions/${id}`, body);
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });

  test("PATCH /v1/functions/:id answers 404 for an unknown function", async () => {
    expectError(await server.api("PATCH", `/v1/functions/${NOWHERE}`, {}), { status: 404, reason: "not_found" });
  });
});

describe("DELETE /v1/functions/:id", () => {
  test("DELETE /v1/functions/:id returns what it deleted, once", async () => {
    const created = await server.createFunction(image, { name: "gone" });
    expect(expectSuccess(await server.api("DELETE", "/v1/functions/gone"))).toEqual(created);
    expectError(await server.api("DELETE", `/v1/functions/${created.id}`), { status: 404, reason: "not_found" });
    expect(await list()).toEqual([]);
  });

  test.each(["", "?cascade=false"])(
    "DELETE /v1/functions/:id%s answers 409 when the function has a route",
    async (query) => {
      const { id } = await server.createFunction(image);
      await server.createRoute("/kept", id);
      expectError(await server.api("DELETE", `/v1/functions/${id}${query}`), {
        status: 409,
        reason: "conflict",
        message: `Cannot delete function "${id}": 1 route leads to it; delete routes first, or use ?cascade=true`,
      });
      expect(expectSuccess(await server.api<unknown[]>("GET", "/v1/routes"))).toHaveLength(1);
    },
  );

  test("DELETE /v1/functions/:id?cascade=true also deletes the routes", async () => {
    const { id } = await server.createFunction(image);
    await server.createRoute("/gone", id);
    expectSuccess(await server.api("DELETE", `/v1/functions/${id}?cascade=true`));
    expect(expectSuccess(await server.api("GET", "/v1/routes"))).toEqual([]);
  });

  test.each([
    ["cascade=yes", 'Invalid "cascade": it must be "true" or "false", but it is "yes"'],
    ["cascade", 'Invalid "cascade": it must be "true" or "false", but it is ""'],
    ["casscade=true", 'Unknown query parameter "casscade": did you mean "cascade"?'],
  ])("DELETE /v1/functions/:id?%s answers 400", async (query, message) => {
    const { id } = await server.createFunction(image);
    const reply = await server.api("DELETE", `/v1/functions/${id}?${query}`);
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });
});

describe("POST /v1/functions/:id/pull", () => {
  test("POST /v1/functions/:id/pull looks up an image again that exists only on the engine", async () => {
    const before = await server.createFunction(image, { name: "pulled" });
    const after = expectSuccess(await server.api<Function>("POST", "/v1/functions/pulled/pull"));
    expect(after).toEqual({ ...before, updated_at: after.updated_at });
  });

  test("POST /v1/functions/:id/pull answers 404 for an unknown function", async () => {
    expectError(await server.api("POST", "/v1/functions/unknown/pull"), { status: 404, reason: "not_found" });
  });
});
