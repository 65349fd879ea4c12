import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig, thisMachine } from "../../lib/config/config.ts";
import { messageOf } from "../../lib/domain/errors.ts";
import { createLogger } from "../../lib/log.ts";
import { start } from "../../lib/server/server.ts";
import { FakeClock } from "../support/fake-clock.ts";

/** A server on a fake clock, whose engine is away. */
async function setUp() {
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  const config = readConfig(
    {},
    { PORT: "0", DATA_PATH: directory, DOCKER_HOST: `unix://${join(directory, "none.sock")}` },
    thisMachine(),
  );
  const clock = new FakeClock();
  const log = createLogger({ level: "error", format: "json", clock, write: () => undefined });
  const server = await start(config, { log, clock });
  return { server, clock, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
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

test("start refuses a port that is taken, and releases the database", async () => {
  await using world = await setUp();
  const { server } = world;
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  const log = createLogger({ level: "error", format: "json", clock: new FakeClock(), write: () => undefined });
  const begin = (port: string) =>
    start(readConfig({}, { PORT: port, DATA_PATH: directory }, thisMachine()), { log, clock: new FakeClock() });
  const { port } = new URL(server.url);
  expect(await begin(port).catch(messageOf)).toStartWith(`Cannot listen on 127.0.0.1:${port}: `);
  await (await begin("0")).stop(0);
  await server.stop(0);
  await rm(directory, { recursive: true });
});
