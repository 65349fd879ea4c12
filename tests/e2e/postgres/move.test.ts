import { Database as Sqlite } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { run } from "../../../.ci/packages.ts";
import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { SLIPWAY } from "../../support/program.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";

/** Longer than anything here takes; what is waited for comes as an event. */
const LONG_MS = 60_000;

const RETRY = { max_attempts: 5, min_ms: 10, max_ms: 200, on: ["crash"] } as const;

async function post({ url }: SpawnedServer, path: string, body: object, method = "POST"): Promise<never> {
  const response = await fetch(`${url}${path}`, { method, body: JSON.stringify(body) });
  const { data } = (await response.json()) as { data: never }; // an envelope; the caller knows what is in it
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
  return data;
}

async function recordOf({ url }: SpawnedServer, id: string): Promise<Invocation> {
  const { data } = (await (await fetch(`${url}/v1/invocations/${id}`)).json()) as { data: Invocation }; // an envelope
  return data;
}

test("slipway move: functions, routes, keys, secrets and queued work go on in PostgreSQL, each piece of work once, also if the first try is killed", async () => {
  const dataPath = mkdtempSync(join(tmpdir(), "slipway-move-"));
  using _ = { [Symbol.dispose]: () => rmSync(dataPath, { recursive: true }) };
  const database = await newDatabase();
  const move = [...SLIPWAY, "move", "--data-path", dataPath, "--server-id", "node-1", "--to", database.url];
  let token: string;
  let interrupted: string;
  const waiting: string[] = [];
  {
    await using server = await SpawnedServer.start({ DATA_PATH: dataPath });
    await post(server, "/v1/secrets/greeting", { value: "hello from a secret" }, "PUT");
    const reads = await server.createFunction(await fixture("shell"), {
      entrypoint: ["sh", "-c"],
      command: ['printf \'"%s"\' "$GREETING" > "$CONTEXT_PATH/response.json"'],
      secrets: [{ name: "greeting", environment: "GREETING" }],
    });
    await post(server, "/v1/routes", { path: "/greet", function_id: reads.id, auth: "key" });
    ({ token } = await post(server, "/v1/keys", { name: "caller", scopes: ["invoke"] }));
    const fn = await server.createFunction(await fixture("chaos"), { retry: { ...RETRY, on: [...RETRY.on] } });
    const submit = async (body: object, query = "") =>
      ((await post(server, `/v1/functions/${fn.id}/invoke?async=true${query}`, body)) as { id: string }).id;
    expect((await run(move)).stderr).toContain("Another slipway uses the database");
    interrupted = await submit({ do: "sleep", ms: 3_000 });
    expect(await eventually(async () => (await recordOf(server, interrupted)).status === "running", LONG_MS)).toBe(
      true,
    );
    for (let n = 0; n < 3; n++) waiting.push(await submit({ n }, "&delay_ms=3000"));
    server.kill("SIGKILL");
    await server.exited;
  }
  await killInMidMove(database.url, move);
  {
    using sqlite = new Sqlite(join(dataPath, "database.db"));
    expect(sqlite.query("select value from settings where key = 'moved'").get()).toBeNull();
  }
  const moved = await run(move);
  expect([moved.code, moved.stdout]).toEqual([0, expect.stringMatching(/^functions +2$/m)]);
  const [, given = ""] =
    /Start the server with its URL as DATABASE_URL, with SERVER_ID=(\S+),/.exec(moved.stderr) ?? [];
  const [, key = ""] = /SECRET_KEY_FILE=(\S+) /.exec(moved.stderr) ?? [];
  const old = await run([...SLIPWAY, "serve", "--port", "0", "--data-path", dataPath]);
  expect([old.code, old.stderr]).toEqual([1, expect.stringContaining("has moved to localhost/")]);

  const variables = { DATABASE_URL: database.url, SERVER_ID: given, SECRET_KEY_FILE: key };
  await using server = await SpawnedServer.start(variables);
  const greet = (bearer: string) =>
    fetch(`${server.url}/r/greet`, { method: "POST", headers: { authorization: `Bearer ${bearer}` } });
  expect(await (await greet(token)).json()).toBe("hello from a secret");
  expect((await greet("wrong")).status).toBe(401);
  const isOver = async (id: string) => (await recordOf(server, id)).finished_at !== null;
  for (const id of [...waiting, interrupted]) expect(await eventually(() => isOver(id), LONG_MS)).toBe(true);
  for (const id of waiting) expect(await recordOf(server, id)).toMatchObject({ status: "succeeded", attempts: 1 });
  // Its attempt ended with the old server, and the new one, which has its name, knew that at once.
  expect(await recordOf(server, interrupted)).toMatchObject({ status: "succeeded", attempts: 2 });
});

/** Runs a move that cannot write the queue, and kills it then. */
async function killInMidMove(url: string, move: readonly string[]): Promise<void> {
  // The tables are made, and nothing is in them.
  expect((await run([...move, "--dry-run"])).code).toBe(3);
  await using client = new SQL(url, { max: 1 });
  const holder = new SQL(url, { max: 1 });
  await holder.unsafe("begin; lock table work in share row exclusive mode");
  const child = Bun.spawn([...move], { stderr: "ignore", stdout: "ignore" });
  const isWaiting = async () => {
    const rows: unknown[] = await client`
      select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into work%'`;
    return rows.length > 0 || child.exitCode !== null;
  };
  expect(await eventually(isWaiting, LONG_MS)).toBe(true);
  child.kill("SIGKILL");
  expect(await child.exited).toBe(137);
  await holder.close({ timeout: 0 });
}
