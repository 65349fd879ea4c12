import { afterAll, expect, test } from "bun:test";
import type { Function } from "../../../../lib/domain/functions/functions.ts";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { fillDatabase } from "../../../http/ui/support/large-database.ts";
import { scratchDirectory } from "../../../store/sqlite/support/stores.ts";
import { fixture } from "../../../support/images.ts";
import { expectWithin } from "../../../support/pace.ts";
import { SpawnedServer } from "../../../support/spawned-server.ts";

/** `DASHBOARD=full` is the long run of `lib/docs/contributing.md`. */
const FULL = process.env["DASHBOARD"] === "full";
/** With the one that is called, there are as many functions as there may be. */
const SIZE = FULL ? { records: 1_000_000, functions: 9_999 } : { records: 2_000, functions: 50 };
/** Calls are made at this interval, whether earlier ones have ended or not. */
const INTERVAL_MS = 20;
const CALLS_OF_TURN = FULL ? 500 : 50;
const TURNS = FULL ? 4 : 2;

const scratch = scratchDirectory();
afterAll(() => scratch[Symbol.dispose]());

/** Makes the calls of a turn, and returns how long after its moment each had its answer, in milliseconds. */
async function turn(server: SpawnedServer, fn: Function): Promise<number[]> {
  const began = performance.now();
  const calls = Array.from({ length: CALLS_OF_TURN }, async (_, i) => {
    const due = began + i * INTERVAL_MS;
    await Bun.sleep(due - performance.now());
    const response = await server.invoke(fn, { do: "echo" });
    await response.arrayBuffer();
    expect(response.status).toBe(200);
    return performance.now() - due;
  });
  return Promise.all(calls);
}

/** The same while somebody looks. */
async function watchedTurn(server: SpawnedServer, fn: Function): Promise<number[]> {
  const command = [process.execPath, `${import.meta.dir}/looker.ts`, server.url, fn.id];
  const looker = Bun.spawn(command, { stdin: "ignore", stdout: "pipe" });
  const first = await looker.stdout.getReader().read();
  expect(first.done).toBe(false);
  const times = await turn(server, fn);
  // All answers have reached the one who looks.
  expect(looker.exitCode).toBeNull();
  looker.kill("SIGKILL");
  await looker.exited;
  return times;
}

function quantile(times: readonly number[], share: number): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * share)] ?? Infinity;
}

test(
  "warm calls at a fixed rate are as quick while somebody looks at all pages of the dashboard, in turns with nobody",
  async () => {
    await fillDatabase(databasePath(scratch.path), SIZE);
    await using server = await SpawnedServer.start({
      DATA_PATH: scratch.path,
      WARM_MAX: "10",
      RETENTION_COUNT: String(2 * SIZE.records),
    });
    const settings = { isolation: "process", network: "none", warm_min: 2, memory_bytes: 64 * 1024 ** 2 } as const;
    const fn = await server.createFunction(await fixture("static"), { name: "looked-at", ...settings });
    await turn(server, fn);
    const [alone, looked]: [number[], number[]] = [[], []];
    for (let i = 0; i < TURNS; i++) {
      alone.push(...(await turn(server, fn)));
      looked.push(...(await watchedTurn(server, fn)));
    }
    const of = (share: number) => ({ alone: quantile(alone, share), looked: quantile(looked, share) });
    const [p50, p99] = [of(0.5), of(0.99)];
    if (FULL) console.log({ p50, p99, ratio: p99.looked / p99.alone });
    await expectWithin(p50.looked, 2 * p50.alone + 5);
    if (FULL) await expectWithin(p99.looked, 1.5 * p99.alone + 5);
    await server.deleteFunction(fn.id);
  },
  FULL ? 30 * 60_000 : 2 * 60_000,
);
