import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig, thisMachine } from "../../../lib/config/config.ts";
import { createLogger } from "../../../lib/log.ts";
import { start } from "../../../lib/server/server.ts";
import { startPostgres } from "../../support/postgres/private-postgres.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { exchange, rawRequest } from "../support/raw-request.ts";

/** A server whose engine is away, and that is put together at the first request that needs it: its clock stands still. */
async function setUp(further: Readonly<Record<string, string>> = {}) {
  const directory = await mkdtemp(join(tmpdir(), "slipway-test-"));
  const variables = {
    PORT: "0",
    PUBLIC_PORT: "0",
    DATA_PATH: directory,
    DOCKER_HOST: `unix://${join(directory, "none.sock")}`,
    ...further,
  };
  const clock = new FakeClock();
  const log = createLogger({ level: "error", format: "json", clock, write: () => undefined });
  const server = await start(readConfig({}, variables, thisMachine()), { log, clock });
  return {
    server,
    isComposed: () => Bun.peek.status(server.composed) === "fulfilled",
    async [Symbol.asyncDispose]() {
      await server.stop(0);
      await rm(directory, { recursive: true });
    },
  };
}

const HEALTH = ["GET /healthz HTTP/1.1", "Host: localhost", "Connection: close", "", ""].join("\r\n");

/** Returns an answer without what differs from one to the next. */
function withoutIds(answer: string): string {
  return answer.replace(/^(x-request-id|date): .*$/gim, "$1: …");
}

test("a server says that it is up before it is put together, in the very words of later", async () => {
  await using world = await setUp();
  const { server, isComposed } = world;
  for (const url of [server.url, server.public_url ?? ""]) {
    const early = await exchange(url, HEALTH);
    expect(early).toContain('{"status":"ok"}');
    expect(early).toMatch(/^x-request-id: [0-9a-f-]{36}\r$/im);
    expect(isComposed()).toBe(false);
  }
  const early = await exchange(server.url, HEALTH);
  await (await fetch(`${server.url}/v1/functions`)).text();
  expect(isComposed()).toBe(true);
  for (const url of [server.url, server.public_url ?? ""])
    expect(withoutIds(await exchange(url, HEALTH))).toBe(withoutIds(early));
});

test("a host that could be a function's own gets no answer of the server's before the routes are known", async () => {
  await using world = await setUp();
  const { server, isComposed } = world;
  for (const host of ["localhost:9999", "127.0.0.1", "[::1]:9999", "api.localhost"]) {
    expect((await rawRequest(server.url, "GET /healthz HTTP/1.1", { headers: [`Host: ${host}`] })).status).toBe(200);
    expect([host, isComposed()]).toEqual([host, false]);
  }
  await rawRequest(server.url, "GET /healthz HTTP/1.1", { headers: ["Host: app.example.com"] });
  expect(isComposed()).toBe(true);
});

test.each([
  ["GET /v1/functions HTTP/1.1", 200],
  ["GET /v1/functions/ HTTP/1.1", 200],
  ["GET /v1/functions/none HTTP/1.1", 404],
  ["GET /r/none HTTP/1.1", 404],
  ["GET /readyz HTTP/1.1", 503],
  ["HEAD /healthz HTTP/1.1", 200],
  ["POST /healthz HTTP/1.1", 405],
  ["GET / HTTP/1.1", 404],
  ["GET //v1/functions HTTP/1.1", 404],
  ["GET /r/..\\v1/functions HTTP/1.1", 400],
  ["GET /r/%2e%2e/v1/functions HTTP/1.1", 400],
  ["GET /v1/functions/a%20b HTTP/1.1", 404],
  ["GET /a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q HTTP/1.1", 404],
  ["GET /v1/functions HTTP/1.0", 200],
])("the first request is answered as any later one: %s is %p", async (line, status) => {
  await using world = await setUp();
  const { server } = world;
  const headers = line.endsWith("1.0") ? ["Host: localhost"] : undefined;
  const ask = () => rawRequest(server.url, line, headers && { headers });
  const first = await ask();
  expect(first.status).toBe(status);
  const later = await ask();
  const shown = ({ headers: sent, text }: typeof first) =>
    withoutIds(`${[...sent].map(([name, value]) => `${name}: ${value}`).join("\n")}\n${text}`).replace(
      /"request_id":"[^"]*"/,
      "",
    );
  expect([later.status, shown(later)]).toEqual([first.status, shown(first)]);
});

test("many requests that come at once are all answered, and the server is put together once", async () => {
  await using world = await setUp();
  const { server } = world;
  const replies = await Promise.all(
    Array.from({ length: 40 }, (_, index) =>
      fetch(`${server.url}/v1/functions/none`, index % 2 === 0 ? {} : { method: "PATCH", body: '{"timeout_ms":1000}' }),
    ),
  );
  expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 40 }, () => 404));
});

test("a server whose database goes away before it is put together answers 503, as others of that database may be there", async () => {
  await using postgres = await startPostgres();
  const variables = { DATABASE_URL: postgres.url("postgres"), SECRET_KEY: "c".repeat(64), SERVER_ID: "a" };
  await using world = await setUp(variables);
  await postgres.kill();
  const answer = await fetch(`${world.server.url}/v1/functions`);
  expect({ status: answer.status, again: Number(answer.headers.get("retry-after")) > 0 }).toEqual({
    status: 503,
    again: true,
  });
  expect(await answer.json()).toMatchObject({ success: false, data: null, reason: "database_unavailable" });
});
