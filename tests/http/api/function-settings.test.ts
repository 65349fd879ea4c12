import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import { acquireEngine, type Engine } from "../../../.ci/engine/engine.ts";
import { fixture, imageWith } from "../../support/images.ts";
import { TestServer } from "../../support/server.ts";
import { expectError, expectSuccess } from "../support/replies.ts";

const MIB = 1024 * 1024;

let server: TestServer;
let engine: Engine;
let image: string;

beforeAll(async () => {
  server = await TestServer.start();
  engine = await acquireEngine();
  image = await fixture("chaos");
});

afterAll(() => server[Symbol.asyncDispose]());

const NETWORKS = 'use "bridge", "isolated", "none" or the name of one of the engine\'s networks';
const USERS = 'give "user", "uid", "user:group" or "uid:gid", with numbers up to 2147483647';
const UNTEXT = "a NUL character or half of a surrogate pair";
const WORDS = "a list of at most 256 strings or null";
const LABELS = "an object of at most 64 strings";
const MANY_LABELS = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ""]));
const LONG = "x".repeat(256);
const SHOWN = `${"x".repeat(100)}...`;

/** Bodies that both POST and PATCH refuse, with their messages. */
const INVALID: readonly (readonly [object, string])[] = [
  [{ entrypoint: "sh" }, `Invalid "entrypoint": it must be ${WORDS}, but it is "sh"`],
  [{ entrypoint: ["sh", 5] }, 'Invalid "entrypoint/1": it must be a string of at most 4095 characters, but it is 5'],
  [{ entrypoint: [""] }, 'Invalid "entrypoint/0": it is empty: name a program, or give [] for no entrypoint'],
  [{ command: {} }, `Invalid "command": it must be ${WORDS}, but it is an object`],
  [{ command: Array(257).fill("x") }, `Invalid "command": it must be ${WORDS}, but it has 257 items`],
  [{ command: ["a", "b\0"] }, `Invalid "command/1": it contains ${UNTEXT}, which no process can receive`],
  [{ command: Array(90).fill("x".repeat(4000)) }, '"command" has 360090 bytes: at most 262144 are allowed'],
  [{ user: "" }, 'Invalid "user": it must be a string of 1 to 255 characters or null, but it is ""'],
  [{ user: 0 }, 'Invalid "user": it must be a string of 1 to 255 characters or null, but it is 0'],
  [{ user: "a:b:c" }, `Invalid "user" "a:b:c": ${USERS}`],
  [{ user: "a b" }, `Invalid "user" "a b": ${USERS}`],
  [{ user: "1:" }, `Invalid "user" "1:": ${USERS}`],
  [{ user: "-1" }, `Invalid "user" "-1": ${USERS}`],
  [{ user: "2147483648" }, `Invalid "user" "2147483648": ${USERS}`],
  [{ working_dir: "app" }, 'Invalid "working_dir" "app": it must be an absolute path'],
  [{ working_dir: "/a\0" }, `Invalid "working_dir" "/a\\u0000": it contains ${UNTEXT}`],
  [
    { working_dir: "/app/../proc/self/fd/8" },
    'Invalid "working_dir" "/app/../proc/self/fd/8": it must not be below /proc',
  ],
  [
    { context_bytes: 1 },
    'Invalid "context_bytes": it must be a whole number from 1048576 to 68719476736 or null, but it is 1',
  ],
  [
    { context_bytes: 64 * MIB, memory_bytes: 64 * MIB },
    '"context_bytes" is 67108864 and "memory_bytes", which it counts as, only 67108864: lower the one or raise the other',
  ],
  [{ log_bytes: -1 }, 'Invalid "log_bytes": it must be a whole number from 0 to 4194304 or null, but it is -1'],
  [{ network: null }, 'Invalid "network": it must be a string of 1 to 128 characters, but it is null'],
  [{ network: "host" }, `"network" cannot be "host": a function never joins the host's network; ${NETWORKS}`],
  [{ network: "default" }, '"network" cannot be "default": use "bridge", which it stands for'],
  [
    { network: "container:abc" },
    `"network" cannot be "container:abc": a function never joins another container's network; ${NETWORKS}`,
  ],
  [
    { network: "ns:/proc/1/ns/net" },
    `"network" cannot be "ns:/proc/1/ns/net": a function never joins another container's network; ${NETWORKS}`,
  ],
  [{ sandbox: "none" }, 'Invalid "sandbox": it must be "default", "strict" or "docker", but it is "none"'],
  [{ sandbox: null }, 'Invalid "sandbox": it must be "default", "strict" or "docker", but it is null'],
  [
    { sandbox: "strict", user: "root" },
    'The sandbox "strict" has no root user, and "user" is "root": give another user, null for the image\'s own, or the sandbox "default"',
  ],
  [
    { sandbox: "strict", user: "00:5" },
    'The sandbox "strict" has no root user, and "user" is "00:5": give another user, null for the image\'s own, or the sandbox "default"',
  ],
  [
    { sandbox: "strict", read_only: false },
    '"read_only" is false, but the sandbox "strict" has a read-only root: leave it out, or give the sandbox "default"',
  ],
  [{ read_only: 1 }, 'Invalid "read_only": it must be true or false, but it is 1'],
  [{ labels: [] }, `Invalid "labels": it must be ${LABELS}, but it is a list`],
  [{ labels: null }, `Invalid "labels": it must be ${LABELS}, but it is null`],
  [{ labels: MANY_LABELS }, `Invalid "labels": it must be ${LABELS}, but it has 65 entries`],
  [{ labels: { a: 1 } }, 'Invalid "labels/a": it must be a string of at most 4096 characters, but it is 1'],
  [{ labels: { "": "x" } }, 'Invalid "labels": a key is empty: give every label a name'],
  [
    { labels: { "slipway.owner": "x" } },
    'Invalid "labels": "slipway.owner" begins with "slipway.", which is reserved: choose another name',
  ],
  [{ labels: { [LONG]: "x" } }, `Invalid "labels": the key "${SHOWN}" has 256 characters: at most 255 are allowed`],
  [{ labels: { "a b": "x" } }, `Invalid "labels": the key "a b" contains a space or ${UNTEXT}`],
  [{ labels: { a: "\0" } }, `Invalid "labels": the value of "a" contains ${UNTEXT}`],
  [
    { isolation: "cell", timeout_ms: 900_001 },
    '"timeout_ms" is 900001, and a function of the contract "files" may run for 900000 ms at most: lower it; a server that streams its answers can have the contract "http"',
  ],
  [{ isolation: "vm" }, 'Invalid "isolation": it must be "container", "cell" or "process", but it is "vm"'],
  [
    { isolation: "container", max_calls: 5 },
    '"isolation" is "container", which is a fresh container for each call, and "max_calls" is 5: leave "max_calls" out, or give the isolation "cell" or "process"',
  ],
  [
    { scratch_bytes: MIB },
    '"scratch_bytes" is 1048576, which only a cell has, and the isolation is "container": give null, or the isolation "cell"',
  ],
  [{ max_calls: -1 }, 'Invalid "max_calls": it must be a whole number from 0 to 1000000, but it is -1'],
  [
    { max_concurrency: 1e9 },
    'Invalid "max_concurrency": it must be a whole number from 0 to 10000, but it is 1000000000',
  ],
  [{ warm_max: 2000 }, 'Invalid "warm_max": it must be a whole number from 0 to 1000, but it is 2000'],
  [{ warm_min: 5, warm_max: 4 }, '"warm_min" is 5 and "warm_max" only 4: raise the one or lower the other'],
  [{ idle_ttl_ms: 0 }, 'Invalid "idle_ttl_ms": it must be a whole number from 1000 to 604800000, but it is 0'],
  [{ share_network: "yes" }, 'Invalid "share_network": it must be true or false, but it is "yes"'],
  [{ secrets: [{ name: "a", enviroment: null }] }, 'Unknown field "secrets/0/enviroment": did you mean "environment"?'],
  [{ volumes: ["/etc:/data"] }, 'Invalid "volumes/0": it must be an object, but it is "/etc:/data"'],
  [
    { volumes: [{ name: "/etc", path: "/data" }] },
    'Invalid "volumes/0/name": it must be a string of at most 255 characters that matches ^[a-zA-Z0-9][a-zA-Z0-9_.-]+$, but it is "/etc"',
  ],
  [{ volumes: [{ name: "models", path: "/data/" }] }, 'Invalid "volumes/0/path" "/data/": write it as "/data"'],
  [
    { volumes: ["/data", "/data/x"].map((path) => ({ name: "models", path })) },
    'Invalid "volumes/1/path" "/data/x": it is the same as, above or below "/data", where the volume "models" is: give another path',
  ],
];

/** Settings that no function gets, under any name. */
const NEVER = [
  "privileged",
  "binds",
  "mounts",
  "devices",
  "host_config",
  "HostConfig",
  "cap_add",
  "pid_mode",
  "ipc_mode",
  "security_opt",
  "sysctls",
  "userns_mode",
  "ports",
  "group_add",
  "gpus",
  "restart_policy",
];

describe("POST /v1/functions", () => {
  test.each(INVALID)("POST /v1/functions answers 400 to %j: %s", async (settings, message) => {
    const reply = await server.api("POST", "/v1/functions", { image, ...settings });
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });

  test.each(NEVER)("POST /v1/functions answers 400 to the unknown field %s", async (field) => {
    const reply = await server.api("POST", "/v1/functions", { image, [field]: true });
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith(`Unknown field "${field}": `);
  });

  test("POST /v1/functions keeps every setting as it was sent", async () => {
    const settings = {
      entrypoint: ["sh", "-c", ""],
      command: [""],
      user: "nobody:1",
      working_dir: "/app",
      context_bytes: 2 * MIB,
      log_bytes: 0,
      network: "none",
      share_network: true,
      sandbox: "docker",
      runtime: "runc",
      read_only: true,
      labels: {
        team: "checkout",
        __proto: "x",
        constructor: "y",
      },
    };
    const { id } = await server.createFunction(image, settings as Partial<Function>);
    expect(expectSuccess(await server.api("GET", `/v1/functions/${id}`))).toMatchObject(settings);
  });

  test.each([
    [{ sandbox: "strict" }, { network: "none", read_only: true, user: null }],
    [
      { sandbox: "strict", network: "bridge", user: "7" },
      { network: "bridge", read_only: true, user: "7" },
    ],
    [{ sandbox: "default" }, { network: "bridge", read_only: false }],
  ])("POST /v1/functions with %j stores %j", async (body, stored) => {
    const reply = await server.api<Function>("POST", "/v1/functions", { image, ...body });
    expect(expectSuccess(reply, 201)).toMatchObject(stored);
  });

  test("POST /v1/functions accepts the engine's networks, and no others", async () => {
    const name = `slipway-test-${crypto.randomUUID()}`;
    await engine.docker("network", "create", "--internal", name);
    try {
      expect((await server.createFunction(image, { network: name })).network).toBe(name);
      const reply = await server.api("POST", "/v1/functions", { image, network: "nowhere" });
      expectError(reply, { status: 400, reason: "invalid_request" });
      expect(reply.body.message).toStartWith('The engine has no network "nowhere", but "bridge", "isolated", "none", ');
      expect(reply.body.message).toContain(`"${name}"`);
      expect(reply.body.message).toEndWith(": use one of these, or create it with `docker network create`");
      expect(reply.body.message).not.toContain('"host"');
    } finally {
      await engine.docker("network", "rm", name);
    }
  });

  test("POST /v1/functions accepts the engine's runtimes, and no others", async () => {
    const reply = await server.api("POST", "/v1/functions", { image, runtime: "runsc" });
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toStartWith('The engine has no runtime "runsc", but "');
    expect(reply.body.message).toContain('"runc"');
    expect(reply.body.message).toEndWith(": use one of these, or add it to the engine's configuration");
  });

  test("POST /v1/functions answers 400 to more CPUs or memory than the engine's machine has", async () => {
    const info = (await engine.client.json("GET", "/info")) as { NCPU: number; MemTotal: number }; // the engine's own
    const cpus = info.NCPU + 0.5;
    expectError(await server.api("POST", "/v1/functions", { image, cpus }), {
      status: 400,
      reason: "invalid_request",
      message: `"cpus" is ${cpus}, and the engine's machine has ${info.NCPU}: lower it`,
    });
    const memory_bytes = info.MemTotal + 1;
    expectError(await server.api("POST", "/v1/functions", { image, memory_bytes }), {
      status: 400,
      reason: "invalid_request",
      message: `"memory_bytes" is ${memory_bytes}, and the engine's machine has ${info.MemTotal}: lower it`,
    });
  });

  test("POST /v1/functions accepts a command for an image without one", async () => {
    const bare = await fixture("no-command");
    expect((await server.createFunction(bare, { command: ["/chaos"] })).command).toEqual(["/chaos"]);
    expectError(await server.api("POST", "/v1/functions", { image: bare, entrypoint: [] }), {
      status: 400,
      reason: "image_invalid",
      message:
        'There is nothing to run: "entrypoint" is empty, or drops the image\'s command, and "command" gives none',
    });
    expectError(await server.api("POST", "/v1/functions", { image: bare }), {
      status: 400,
      reason: "image_invalid",
      message: `Image "${bare}" has no entrypoint and no command, so there is nothing to run: give "entrypoint" or "command", or add ENTRYPOINT or CMD to its Dockerfile`,
    });
  });
});

describe("PATCH /v1/functions/:id", () => {
  test.each(INVALID)("PATCH /v1/functions/:id answers 400 to %j: %s", async (settings, message) => {
    const { id } = await server.createFunction(image);
    const reply = await server.api("PATCH", `/v1/functions/${id}`, settings);
    expectError(reply, { status: 400, reason: "invalid_request", message });
  });

  test.each<readonly [Partial<Function>, Partial<Function>, Partial<Function>]>([
    [{}, { sandbox: "strict" }, { network: "none", read_only: true }],
    [{}, { sandbox: "strict", network: "bridge" }, { network: "bridge", read_only: true }],
    [{ sandbox: "strict", network: "bridge" }, { sandbox: "strict" }, { network: "bridge" }],
    [{ sandbox: "strict" }, { sandbox: "default" }, { network: "none", read_only: true }],
    [{ sandbox: "strict" }, { sandbox: "docker", network: "bridge", read_only: false }, { network: "bridge" }],
    [{}, { max_calls: 0 }, { isolation: "process" }],
    [{ max_calls: 5 }, { max_calls: 1 }, { isolation: "container" }],
    [{ isolation: "process", max_calls: 5 }, { isolation: "container" }, { max_calls: 1 }],
    [{}, { isolation: "process" }, { max_calls: 0 }],
    [{ entrypoint: ["sh"] }, { entrypoint: null }, { entrypoint: null }],
    [{ context_bytes: 64 * MIB }, { context_bytes: null, memory_bytes: 32 * MIB }, { context_bytes: null }],
  ])("PATCH /v1/functions/:id of %j with %j gives %j", async (before, change, after) => {
    const { id } = await server.createFunction(image, before);
    const reply = await server.api<Function>("PATCH", `/v1/functions/${id}`, change);
    expect(expectSuccess(reply)).toMatchObject({ ...before, ...change, ...after });
  });

  test.each<readonly [Partial<Function>, Partial<Function>, RegExp]>([
    [{ context_bytes: 64 * MIB }, { memory_bytes: 32 * MIB }, /^"context_bytes" is 67108864 and/],
    [{ user: "root" }, { sandbox: "strict" }, /^The sandbox "strict" has no root user/],
    [{ sandbox: "strict" }, { user: "0" }, /^The sandbox "strict" has no root user/],
    [{ sandbox: "strict" }, { read_only: false }, /^"read_only" is false/],
    [{ warm_min: 3 }, { warm_max: 2 }, /^"warm_min" is 3/],
    [{}, { network: "nowhere" }, /^The engine has no network "nowhere"/],
    [{}, { runtime: "runsc" }, /^The engine has no runtime "runsc"/],
    [{}, { cpus: 1024 }, /^"cpus" is 1024/],
  ])("PATCH /v1/functions/:id answers 400 if %j is in conflict with %j", async (before, change, message) => {
    const { id } = await server.createFunction(image, before);
    const reply = await server.api("PATCH", `/v1/functions/${id}`, change);
    expectError(reply, { status: 400, reason: "invalid_request" });
    expect(reply.body.message).toMatch(message);
    expect(expectSuccess(await server.api("GET", `/v1/functions/${id}`))).toMatchObject(before);
  });

  test("PATCH /v1/functions/:id does not remove a command that is needed", async () => {
    const { id } = await server.createFunction(await fixture("no-command"), { entrypoint: ["/chaos"] });
    const refused = await server.api("PATCH", `/v1/functions/${id}`, { entrypoint: null });
    expectError(refused, { status: 400, reason: "image_invalid" });
    expectSuccess(await server.api("PATCH", `/v1/functions/${id}`, { entrypoint: null, command: ["/chaos"] }));
    expectSuccess(await server.api("PATCH", `/v1/functions/${id}`, { command: null, image }));
  });
});

describe("labels slipway.* of an image", () => {
  const made: string[] = [];

  afterAll(async () => {
    await engine.docker("rmi", "--no-prune", ...made);
  });

  async function labelled(...labels: readonly string[]): Promise<string> {
    const reference = await imageWith(engine, image, ...labels.map((label) => `LABEL ${label}`));
    made.push(reference);
    return reference;
  }

  test("give defaults that the body overrides, and are read at registration only", async () => {
    const own = await labelled(
      "slipway.timeout_ms=5000",
      "slipway.cpus=0.5",
      "slipway.sandbox=strict",
      "slipway.warm_max=0",
      "slipway.share_network=true",
      "slipway.log_bytes=100",
      "slipway.owner=x",
      "maintainer=y",
    );
    const stored = { timeout_ms: 5000, cpus: 0.5, sandbox: "strict", warm_max: 0, share_network: true, log_bytes: 100 };
    const register = async (body: object) =>
      expectSuccess(await server.api<Function>("POST", "/v1/functions", { image: own, ...body }), 201);
    expect(await register({})).toMatchObject({ ...stored, network: "none", read_only: true, labels: {} });
    const said = { timeout_ms: 700, sandbox: "default", log_bytes: null } as const;
    expect(await register(said)).toMatchObject({ ...stored, ...said, network: "bridge" });
    const { id } = await server.createFunction(image);
    const moved = expectSuccess(await server.api<Function>("PATCH", `/v1/functions/${id}`, { image: own }));
    expect(moved).toMatchObject({ timeout_ms: 30_000, sandbox: "default" });
  });

  const wrong: readonly (readonly [string, string])[] = [
    [
      "slipway.timeout_ms=5s",
      'the label "slipway.timeout_ms" with the value "5s", which must be a whole number from 100 to 86400000. Correct it in its Dockerfile',
    ],
    [
      "slipway.context_bytes=1",
      'the label "slipway.context_bytes" with the value "1", which must be a whole number from 1048576 to 68719476736. Correct it in its Dockerfile',
    ],
    [
      "slipway.read_only=yes",
      'the label "slipway.read_only" with the value "yes", which must be true or false. Correct it in its Dockerfile',
    ],
    [
      "slipway.sandbox=docker",
      'the label "slipway.sandbox" with the value "docker": an image cannot loosen its own sandbox; set "sandbox" on the function instead. Correct it in its Dockerfile',
    ],
    [
      "slipway.timeout=5",
      'the label "slipway.timeout", which is unknown: did its author mean "slipway.timeout_ms"? Correct it in its Dockerfile',
    ],
  ];
  test.each(wrong)("answer 400 for %s", async (label, message) => {
    const own = await labelled(label);
    expectError(await server.api("POST", "/v1/functions", { image: own }), {
      status: 400,
      reason: "image_invalid",
      message: `Image "${own}" has ${message}`,
    });
  });

  test("answer 400 for an unknown one, with a list of those that exist", async () => {
    const reply = await server.api("POST", "/v1/functions", { image: await labelled("slipway.network=host") });
    expectError(reply, { status: 400, reason: "image_invalid" });
    expect(reply.body.message).toContain('"slipway.network", which is unknown: known are "slipway.contract", ');
  });

  test("are checked together with the body", async () => {
    const own = await labelled("slipway.context_bytes=104857600", "slipway.cpus=1024");
    const small = await server.api("POST", "/v1/functions", { image: own, memory_bytes: 50 * MIB });
    expectError(small, { status: 400, reason: "invalid_request" });
    expect(small.body.message).toStartWith('"context_bytes" is 104857600');
    const large = await server.api("POST", "/v1/functions", { image: own });
    expect(large.body.message).toStartWith('"cpus" is 1024, and the engine');
    expectSuccess(await server.api("POST", "/v1/functions", { image: own, cpus: 1 }), 201);
  });
});
