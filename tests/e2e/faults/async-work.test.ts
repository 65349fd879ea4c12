import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Attempt } from "../../../lib/domain/calls/attempts.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { scratchDirectory } from "../../store/sqlite/support/stores.ts";
import { requireProgram } from "../../../.ci/packages.ts";
import { fixture } from "../../support/images.ts";
import { containersLeft } from "../../support/server.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

let directory: string;
let fn: Function;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-async-"));
  await using server = await start();
  fn = await server.createFunction(await fixture("chaos"));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

function start(variables: Readonly<Record<string, string>> = {}): Promise<SpawnedServer> {
  return SpawnedServer.start({ DATA_PATH: directory, ...variables });
}

async function data<T>(response: Response, status: number): Promise<T> {
  const body: unknown = await response.json();
  expect([response.status, body]).toEqual([status, expect.objectContaining({ success: true })]);
  return (body as { data: T }).data; // an envelope
}

async function submit({ url }: SpawnedServer, body: object, query = "", key?: string): Promise<Invocation> {
  const path = `${url}/v1/functions/${fn.id}/invoke?async=true${query}`;
  const headers = key === undefined ? {} : { "Idempotency-Key": key };
  return data<Invocation>(await fetch(path, { method: "POST", body: JSON.stringify(body), headers }), 202);
}

async function ended({ url }: SpawnedServer, id: string): Promise<Invocation> {
  for (;;) {
    const record = await data<Invocation>(await fetch(`${url}/v1/invocations/${id}?wait=30s`), 200);
    if (record.finished_at !== null) return record;
  }
}

async function attemptsOf({ url }: SpawnedServer, id: string): Promise<string[]> {
  const attempts = await data<Attempt[]>(await fetch(`${url}/v1/invocations/${id}/attempts`), 200);
  return attempts.map(({ attempt, status }) => `${attempt} ${status}`);
}

/** Waits until a function has printed a text once for each id. */
async function printed({ url }: SpawnedServer, ids: readonly string[]): Promise<void> {
  const each = ids.map(async (id) => {
    const response = await fetch(`${url}/v1/invocations/${id}/events`);
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes("event: log")) return;
    }
  });
  await Promise.all(each);
}

test("a server killed around its 202 has stored a submission completely or not at all, and the key shows which", async () => {
  const submitRound = (server: SpawnedServer, round: number) =>
    submit(server, { round }, "&delay_ms=3600000", `round-${round}`);
  /** The submission of the round before, sent once more to the next server. */
  const repeat = async (server: SpawnedServer, round: number, promised: Invocation | undefined) => {
    if (round < 0) return;
    const again = await submitRound(server, round);
    if (promised !== undefined) expect(again.id).toBe(promised.id);
  };
  let promised: Invocation | undefined;
  for (let round = 0; round < 12; round++) {
    let answered: Promise<Invocation | undefined>;
    {
      await using server = await start();
      await repeat(server, round - 1, promised);
      answered = submitRound(server, round).catch(() => undefined);
      await Bun.sleep(Math.random() * 12);
      server.kill("SIGKILL");
      await server.exited;
    }
    using database = new Database(join(directory, "database.db"));
    const count = (table: string) =>
      database.query<{ count: number }, []>(`select count(*) as count from ${table}`).get()?.count;
    promised = await answered;
    const kept = count("work");
    expect(kept === round || kept === round + 1).toBe(true);
    if (promised !== undefined) expect(kept).toBe(round + 1);
    for (const table of ["invocations", "payloads", "idempotency_keys"]) expect(count(table)).toBe(kept);
    database.close();
  }
  await using server = await start();
  await repeat(server, 11, promised);
  const queued = await data<{ invocations: Invocation[] }>(
    await fetch(`${server.url}/v1/invocations?status=queued`),
    200,
  );
  expect(queued.invocations).toHaveLength(12);
  for (const { id } of queued.invocations)
    await data(await fetch(`${server.url}/v1/invocations/${id}/cancel`, { method: "POST" }), 200);
});

test("SIGTERM lets attempts end within the grace period; others are lost, and the next server repeats them", async () => {
  let short: Invocation;
  let long: Invocation;
  {
    await using server = await start({ DRAIN_MS: "3000" });
    short = await submit(server, { do: "sleep", ms: 1_500 });
    long = await submit(server, { do: "sleep", ms: 8_000 });
    await printed(server, [short.id, long.id]);
    server.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(await containersLeft()).toEqual([]);
  }
  await using server = await start();
  expect(await ended(server, short.id)).toMatchObject({ status: "succeeded", attempts: 1 });
  expect(await ended(server, long.id)).toMatchObject({ status: "succeeded", attempts: 2 });
  expect(await attemptsOf(server, long.id)).toEqual(["1 lost", "2 succeeded"]);
});

test("a full disk: submissions get 507, nothing is half written, and they work again when there is space", async () => {
  using scratch = scratchDirectory();
  const script = 'mount -t tmpfs -o size=2m tmpfs "$1"; "$0" "$2/support/submit-full.ts" "$1"';
  const namespace = [requireProgram("unshare"), ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"])];
  const child = Bun.spawn(
    [...namespace, "--mount", "sh", "-ec", script, process.execPath, scratch.path, import.meta.dir],
    {
      stderr: "pipe",
    },
  );
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([code, errors]).toEqual([0, ""]);
  expect(JSON.parse(output)).toEqual({
    refusals: [[507, "storage_full"]],
    read: 200,
    recovered: 202,
    kept: { invocations: true, payloads: true, work: true },
    lost: [],
  });
});
