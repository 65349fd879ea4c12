import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig, thisMachine } from "../../lib/config/config.ts";
import { messageOf } from "../../lib/domain/errors.ts";
import { createLogger } from "../../lib/log.ts";
import { listenProblem } from "../../lib/server/ports/listen-problem.ts";
import { start } from "../../lib/server/server.ts";
import { databasePath } from "../../lib/store/sqlite/store.ts";
import { newStore, scratchDirectory, someFunction } from "../store/sqlite/support/stores.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { eventually } from "../support/pace.ts";

/** Starts a server on a fake clock. */
function begun(variables: Readonly<Record<string, string>>, clock = new FakeClock()) {
  const log = createLogger({ level: "error", format: "json", clock, write: () => undefined });
  return start(readConfig({}, variables, thisMachine()), { log, clock });
}

/** A server on a fake clock, whose engine is away. */
async function setUp(directory?: string) {
  const data = directory ?? (await mkdtemp(join(tmpdir(), "slipway-test-")));
  const clock = new FakeClock();
  const server = await begun({ PORT: "0", DATA_PATH: data, DOCKER_HOST: `unix://${join(data, "none.sock")}` }, clock);
  return { server, clock, directory: data, [Symbol.asyncDispose]: () => rm(data, { recursive: true }) };
}

test("start answers requests before it begins the work in the background", async () => {
  await using world = await setUp();
  const { server, clock } = world;
  await clock.advance(10);
  await server.composed;
  const before = clock.pending;
  expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
  await clock.advance(10);
  expect(clock.pending).toBeGreaterThan(before);
  await server.stop(0);
});

test("stop closes the port and leaves no timer, whether or not the work has begun", async () => {
  for (const passedMs of [0, 10, 60_000]) {
    await using world = await setUp();
    const { server, clock } = world;
    await clock.advance(passedMs);
    await server.stop(0);
    expect(await fetch(`${server.url}/healthz`).catch((error: unknown) => error)).toBeInstanceOf(Error);
    expect([passedMs, clock.pending]).toEqual([passedMs, 0]);
  }
});

test("leave ends each connection with its next answer, so that clients go elsewhere before the port closes", async () => {
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  const clock = new FakeClock();
  const host = `unix://${join(directory, "none.sock")}`;
  const server = await begun({ PORT: "0", DATA_PATH: directory, DOCKER_HOST: host, DRAIN_DELAY_MS: "10s" }, clock);
  const endings = async () => {
    const paths = ["/healthz", "/readyz", "/v1/functions", "/r/none", "/swagger", "/"];
    const answers = await Promise.all(paths.map((path) => fetch(server.url + path)));
    return answers.map(({ headers }) => headers.get("connection"));
  };
  expect(await endings()).toEqual([null, null, null, null, null, null]);
  await clock.advance(10);
  await server.composed;
  const left = server.leave();
  expect(await eventually(async () => (await endings()).every((ending) => ending === "close"))).toBe(true);
  await clock.advance(10_000);
  await left;
  await server.stop(0);
  await rm(directory, { recursive: true });
});

test("stop does not wait for the engine that a call waits for and nobody has asked yet: the call is refused", async () => {
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  {
    using store = newStore(databasePath(directory));
    await store.functions.insert(someFunction("f1", { name: "one" }));
  }
  await using world = await setUp(directory);
  const { server, clock } = world;
  const call = fetch(`${server.url}/v1/functions/one/invoke`, { method: "POST" });
  const running = async () => await (await fetch(`${server.url}/v1/invocations?status=running`)).text();
  expect(await eventually(async () => (await running()).includes('"function_id":"f1"'))).toBe(true);
  const stopped = server.stop(60_000);
  const isOver = async () => {
    await clock.advance(0);
    return Bun.peek.status(stopped) === "fulfilled";
  };
  expect(await eventually(isOver)).toBe(true);
  const reply = await call;
  expect([reply.status, await reply.json()]).toEqual([503, expect.objectContaining({ reason: "shutting_down" })]);
});

test("a server that cannot be put together says why, serves nothing but its health, and can be stopped", async () => {
  await using world = await setUp();
  const { server, directory } = world;
  {
    using other = new Database(databasePath(directory));
    other.run("alter table invocations rename to elsewhere");
  }
  const asked = await Promise.all(["/v1/functions", "/r/one"].map((path) => fetch(server.url + path)));
  expect(asked.map(({ status }) => status)).toEqual([500, 500]);
  const told = { success: false, message: "The server could not start: look into its log", reason: "internal" };
  expect(await asked[0]?.json()).toMatchObject(told);
  expect(await server.composed.catch(messageOf)).toContain("no such table: invocations");
  await server.stop(0);
});

test("a start that fails keeps no API key, which nobody has seen: the next one shows its own", async () => {
  await using world = await setUp();
  const { server } = world;
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  const begin = (port: string) => begun({ PORT: port, AUTH: "on", DATA_PATH: directory });
  expect(await begin(new URL(server.url).port).catch(messageOf)).toStartWith("Cannot listen on ");
  const first = await begin("0");
  expect(first.new_key).toMatch(/^slipway_/);
  const headers = { authorization: `Bearer ${first.new_key}` };
  expect((await fetch(`${first.url}/v1/functions`, { headers })).status).toBe(200);
  await first.stop(0);
  const second = await begin("0");
  expect(second.new_key).toBeUndefined();
  expect((await fetch(`${second.url}/v1/functions`, { headers })).status).toBe(200);
  await second.stop(0);
  await server.stop(0);
  await rm(directory, { recursive: true });
});

test("start at an address that this machine does not have says that it is not the port that is wrong", async () => {
  using scratch = scratchDirectory();
  // For documentation (RFC 5737): no machine has it.
  const HOST = "192.0.2.7";
  expect(await begun({ PORT: "0", HOST, AUTH: "on", DATA_PATH: scratch.path }).catch(messageOf)).toBe(
    `Cannot listen on ${HOST}:0: this machine does not have the address. Choose one that it has with --host or HOST.`,
  );
  // As Bun.serve says of it. No resolver is asked for a name with an empty part.
  const error = Object.assign(new Error("Failed to start server. Is port 0 in use?"), { code: "EADDRINUSE" });
  expect(listenProblem(error, { hostname: "no..name", port: 0, option: "--public-port or PUBLIC_PORT" })).toBe(
    "Cannot listen on no..name:0: there is no such address. Choose one that this machine has with --public-host or PUBLIC_HOST.",
  );
});

test("start refuses a port that is taken, and releases the database", async () => {
  await using world = await setUp();
  const { server } = world;
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  const begin = (port: string) => begun({ PORT: port, DATA_PATH: directory });
  const { port } = new URL(server.url);
  expect(await begin(port).catch(messageOf)).toBe(
    `Cannot listen on 127.0.0.1:${port}: the port is in use. Stop what uses it, or choose another with --port or PORT.`,
  );
  await (await begin("0")).stop(0);
  await server.stop(0);
  await rm(directory, { recursive: true });
});
