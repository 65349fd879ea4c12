import { afterAll, beforeAll, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { InvocationPage } from "../../../lib/domain/calls/invocations.ts";
import { fixture } from "../../support/images.ts";
import { containersLeft } from "../../support/server.ts";
import { SpawnedServer } from "../../support/spawned-server.ts";
import { eventually, expectWithin } from "../../support/pace.ts";

const ROUNDS = 10;
/** The length of a call, about, so that the kill meets all of its steps. */
const RANDOM_MS = 800;
const READY_MS = 2_000;

let directory: string;
let fn: Function;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "slipway-kill-loop-"));
  await using server = await SpawnedServer.start({ DATA_PATH: directory });
  fn = await server.createFunction(await fixture("static"));
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Keeps three callers busy until the server is gone, and counts answered calls. */
function load(server: SpawnedServer): { readonly first: Promise<void>; readonly ended: Promise<number> } {
  const first = Promise.withResolvers<void>();
  let answered = 0;
  const caller = async (body: object) => {
    for (;;) {
      const response = await server.invoke(fn, body).catch(() => undefined);
      const text = await response?.text().catch(() => undefined);
      if (response === undefined || text === undefined) return;
      if (response.status === 200) answered++;
      first.resolve();
    }
  };
  const callers = [{ do: "echo" }, { do: "sleep", ms: 100 }, { do: "ignore_term", ms: 5_000 }].map(caller);
  return { first: first.promise, ended: Promise.all(callers).then(() => answered) };
}

function quickCheck(): unknown {
  using database = new Database(join(directory, "database.db"));
  return database.query("pragma quick_check").all();
}

test(`a server killed ${ROUNDS} times at random points under load`, async () => {
  let answered = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    const started = performance.now();
    await using server = await SpawnedServer.start({ DATA_PATH: directory, MAX_INSTANCES: "4" });
    expect(await eventually(async () => (await fetch(`${server.url}/readyz`)).status === 200)).toBe(true);
    await expectWithin(performance.now() - started, READY_MS);
    expect(await containersLeft()).toEqual([]);
    // Calls that the previous server left running are marked before the first call is accepted.
    const running = await fetch(`${server.url}/v1/invocations?status=running`);
    expect(await running.json()).toMatchObject({ data: { invocations: [] } });

    const { first, ended } = load(server);
    // Half of the servers die in their first calls, which also install the gate; half during later work.
    if (round % 2 === 0) await first;
    await Bun.sleep(Math.random() * RANDOM_MS);
    server.kill("SIGKILL");
    answered += await ended;
    expect(quickCheck()).toEqual([{ quick_check: "ok" }]);
  }
  await using server = await SpawnedServer.start({ DATA_PATH: directory });
  expect(await containersLeft()).toEqual([]);
  const response = await fetch(`${server.url}/v1/invocations?limit=500`);
  const { data } = (await response.json()) as { data: InvocationPage }; // what the API promises
  for (const record of data.invocations) {
    // Records are written in batches: the latest may be missing or marked as lost, but are never contradictory.
    expect(record).toMatchObject(
      record.status === "succeeded"
        ? { reason: null, exit_code: 0 }
        : { status: "failed", reason: "instance_lost", exit_code: null },
    );
    expect(record.finished_at).not.toBeNull();
  }
  expect(answered).toBeGreaterThan(0);
});
