import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { acquireEngine } from "../../../.ci/engine/engine.ts";
import { runOrThrow } from "../../../.ci/packages.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation, ShownInvocation } from "../../../lib/domain/calls/invocations.ts";
import { blocksOf, readPage } from "../../docs/support/markdown-blocks.ts";
import { fixture } from "../../support/images.ts";
import { ownedContainers } from "../../support/leaks.ts";
import { eventually } from "../../support/pace.ts";
import { type PrivatePostgres, startPostgres } from "../../support/postgres/private-postgres.ts";
import { SLIPWAY } from "../../support/program.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

/** The page whose commands make the database here. */
const PAGE = "lib/docs/deploy/postgresql.md";
/** Longer than anything here takes; what is waited for comes as an event. */
const LONG_MS = 60_000;

const RETRY: Function["retry"] = {
  max_attempts: 5,
  min_ms: 10,
  max_ms: 200,
  on: ["crash", "timeout", "non_zero_exit", "oom", "engine"],
};

let postgres: PrivatePostgres;
let directory: string;
let fn: Function;

beforeAll(async () => {
  postgres = await startPostgres();
  directory = await mkdtemp(join(tmpdir(), "slipway-secret-key-"));
  const [block] = blocksOf(PAGE, await readPage(PAGE));
  const [setup = "", server = ""] = block?.text.split(/^(?=DATABASE_URL=)/m) ?? [];
  await runOrThrow([
    "env",
    `PATH=${postgres.programs}:${process.env["PATH"]}`,
    `PGHOST=${postgres.directory}`,
    "PGUSER=slipway",
    "sh",
    "-ec",
    setup.replaceAll("/etc/slipway", directory),
  ]);
  expect(Object.keys(environment("node-1"))).toEqual([...(server.match(/\b[A-Z_]+(?==)/g) ?? [])]);
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

/** The variables of the page's server. */
function environment(id: string) {
  return {
    DATABASE_URL: postgres.url("slipway"),
    SECRET_KEY_FILE: join(directory, "secret-key"),
    SERVER_ID: id,
  };
}

/** Lets a server end, which removes its containers. */
async function stop(server: SpawnedServer): Promise<void> {
  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
}

function start(id: string): Promise<SpawnedServer> {
  return SpawnedServer.start(environment(id));
}

async function submit(
  { url }: SpawnedServer,
  body: object,
  query = "",
): Promise<{ status: number; id: string | undefined }> {
  const path = `${url}/v1/functions/${fn.id}/invoke?async=true${query}`;
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  const { data } = (await response.json()) as { data: Invocation | null }; // an envelope
  return { status: response.status, id: data?.id };
}

async function submitted(server: SpawnedServer, body: object, query = ""): Promise<string> {
  const { status, id } = await submit(server, body, query);
  if (status !== 202 || id === undefined) throw new Error(`not submitted: ${status}`);
  return id;
}

async function recordOf({ url }: SpawnedServer, id: string): Promise<ShownInvocation> {
  const { data } = (await (await fetch(`${url}/v1/invocations/${id}`)).json()) as { data: ShownInvocation }; // an envelope
  return data;
}

async function ended(server: SpawnedServer, id: string): Promise<Invocation> {
  expect(await eventually(async () => (await recordOf(server, id)).finished_at !== null, LONG_MS)).toBe(true);
  return recordOf(server, id);
}

test("a server in PostgreSQL: functions, calls, routes, submissions and schedules outlive it", async () => {
  let waiting: string;
  {
    await using server = await start("a");
    fn = await server.createFunction(await fixture("chaos"), { timeout_ms: 10_000, retry: RETRY });
    expect((await server.invoke(fn, {})).status).toBe(200);
    const post = (path: string, body: object) =>
      fetch(`${server.url}${path}`, { method: "POST", body: JSON.stringify(body) }).then(({ ok }) => ok);
    expect(await post("/v1/routes", { path: "/hello", function_id: fn.id })).toBe(true);
    expect(await post("/v1/schedules", { function_id: fn.id, cron: "0 0 1 1 *" })).toBe(true);
    expect(await ended(server, await submitted(server, {}))).toMatchObject({ status: "succeeded", attempts: 1 });
    waiting = await submitted(server, {}, "&delay_ms=3600000");
    server.kill("SIGKILL");
    await server.exited;
  }
  await using server = await start("a");
  expect((await fetch(`${server.url}/r/hello`, { method: "POST", body: "{}" })).status).toBe(200);
  expect(await (await fetch(`${server.url}/v1/schedules`)).json()).toMatchObject({ data: [{ cron: "0 0 1 1 *" }] });
  expect((await recordOf(server, waiting)).status).toBe("queued");
  expect((await fetch(`${server.url}/v1/invocations/${waiting}/cancel`, { method: "POST" })).status).toBe(200);
});

test("two servers on one engine: one sees what the other changes, neither disturbs the other, and a killed one loses nothing", async () => {
  await using a = await start("a");
  const begun: string[] = [];
  {
    await using b = await start("b");
    const called = await b.invoke(fn, {});
    expect(called.status).toBe(200);
    const id = called.headers.get("X-Request-Id") ?? "";
    // B writes records in batches.
    const isWritten = async () => (await fetch(`${a.url}/v1/invocations/${id}`)).status === 200;
    expect(await eventually(isWritten, LONG_MS)).toBe(true);
    for (const server of [a, b]) expect((await recordOf(server, id)).server_id).toBe("b");
    expect(await runOrThrow([...SLIPWAY, "status", "--url", b.url])).toMatch(/^database +ok\nservers +a, b$/m);
    const { data } = (await (await fetch(`${b.url}/v1/routes`)).json()) as { data: { id: string }[] }; // an envelope
    expect((await fetch(`${b.url}/v1/routes/${data[0]?.id}`, { method: "DELETE" })).status).toBe(200);
    const isGone = async () => (await fetch(`${a.url}/r/hello`, { method: "POST", body: "{}" })).status === 404;
    expect(await eventually(isGone, LONG_MS)).toBe(true);
    // Whichever server takes them.
    for (let n = 0; n < 4; n++) begun.push(await submitted(b, { do: "sleep", ms: 500 }));
    const isBegun = async () => (await recordOf(b, begun.at(-1) ?? "")).status !== "queued";
    expect(await eventually(isBegun, LONG_MS)).toBe(true);
    b.kill("SIGKILL");
    await b.exited;
  }
  // Back with its name, it removes what is left of it and frees its work at once; the other would when the leases have ended.
  await using b = await start("b");
  for (const id of begun) expect((await ended(a, id)).status).toBe("succeeded");
  expect((await b.invoke(fn, {})).status).toBe(200);
});

test("a call of a server that does not come back ends as lost, and as it really ended if the server was only away", async () => {
  await using a = await start("a");
  await using away = await start("away");
  await using gone = await start("gone");
  const slow = await a.createFunction(await fixture("chaos"), { timeout_ms: 60_000 });
  const calls = [away, gone].map((server) => server.invoke(slow, { do: "sleep", ms: 8_000 }).catch(() => undefined));
  const records = async () => {
    const response = await fetch(`${a.url}/v1/invocations?function_id=${slow.id}`);
    return ((await response.json()) as { data: { invocations: Invocation[] } }).data.invocations; // an envelope
  };
  expect(await eventually(async () => (await records()).length === 2, LONG_MS)).toBe(true);
  away.kill("SIGSTOP");
  gone.kill("SIGKILL");
  await gone.exited;
  // Ten minutes pass.
  const came = new Date(Date.now() - 600_000).toISOString();
  await postgres.run(
    `update servers set heartbeat = heartbeat - 600000 where id in ('away', 'gone');
     update invocations set created_at = '${came}' where status = 'running'`,
    "slipway",
  );
  const lost = async () => (await records()).filter(({ reason }) => reason === "instance_lost");
  expect(await eventually(async () => (await lost()).length === 2, LONG_MS)).toBe(true);
  const lostOn = (id: string) => `The server "${id}" was lost while it ran this call: how it ended is not known`;
  const messages = (await lost()).map(({ message }) => message);
  expect(new Set(messages)).toEqual(new Set(["away", "gone"].map(lostOn)));
  away.kill("SIGCONT");
  await Promise.all(calls);
  expect(await eventually(async () => (await lost()).length === 1, LONG_MS)).toBe(true);
  const ends = (await records()).map(({ status, message }) => ({ status, message }));
  expect(ends).toContainEqual({ status: "succeeded", message: null });
  expect(ends).toContainEqual({ status: "failed", message: lostOn("gone") });
  await using back = await start("gone");
  await stop(a);
  await stop(away);
  // It removes what its predecessor may have left on the engine.
  const { client } = await acquireEngine();
  expect(await eventually(async () => (await ownedContainers(client)).length === 0, LONG_MS)).toBe(true);
  await stop(back);
});

test("PostgreSQL killed in mid-submission: nothing acknowledged is lost, calls go on, and submissions say 503 until it is back", async () => {
  await using server = await start("a");
  const acknowledged: string[] = [];
  let refused = 0;
  // They wait until PostgreSQL is away: what is taken while it goes, without the server's learning of it, waits for its lease of 30 s.
  const later = "&delay_ms=2000";
  const submitter = async () => {
    while (acknowledged.length < 30 && refused < 8) {
      const { status, id } = await submit(server, {}, later);
      if (status === 202 && id !== undefined) acknowledged.push(id);
      else if (status === 503) refused++;
      else throw new Error(`status ${status}`);
      if (acknowledged.length === 10) await postgres.kill();
    }
  };
  await Promise.all(Array.from({ length: 4 }, submitter));
  expect(refused).toBeGreaterThan(0);
  const away = await submit(server, {});
  expect(away.status).toBe(503);
  expect((await server.invoke(fn, {})).status).toBe(200);
  const isUp = async () => /^slipway_database_up (\d)$/m.exec(await (await fetch(`${server.url}/metrics`)).text())?.[1];
  expect(await eventually(async () => (await isUp()) === "0", LONG_MS)).toBe(true);
  await postgres.start();
  expect(await eventually(async () => (await submit(server, {})).status === 202, LONG_MS)).toBe(true);
  for (const id of acknowledged) expect((await ended(server, id)).status).toBe("succeeded");
  expect(await eventually(async () => (await isUp()) === "1", LONG_MS)).toBe(true);
  // What it has taken besides may still run.
  await stop(server);
});
