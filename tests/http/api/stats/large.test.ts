import { Database as Sqlite } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import type { Stats } from "../../../../lib/domain/stats/figures.ts";
import { timestamp } from "../../../../lib/domain/types.ts";
import { databasePath } from "../../../../lib/store/sqlite/store.ts";
import { makeOlder } from "../../../store/sqlite/support/older.ts";
import { newStore, scratchDirectory, someFunction, someInvocation } from "../../../store/sqlite/support/stores.ts";
import { expectWithin, processorTime } from "../../../support/pace.ts";
import { TestServer } from "../../../support/server.ts";
import { expectSuccess } from "../../support/replies.ts";

/** `STATS=full` is the long run of `lib/docs/contributing.md`; `STATS=100000` has so many records. */
const ASKED = process.env["STATS"] === "full" ? 1_000_000 : Number(process.env["STATS"] ?? 0);
const FULL = ASKED > 0;
const RECORDS = FULL ? ASKED : 2_000;
const FUNCTIONS = RECORDS / (FULL ? 100 : 40);
const HOUR = 3_600_000;
/** The time over which the calls are spread. */
const SPREAD = 80 * 24 * HOUR;
/** The schema before there were figures. */
const BEFORE = 24;

const now = Date.now();
const scratch = scratchDirectory();
let server: TestServer | undefined;

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

/** Makes a database of the version before, with calls of all functions, half of them within the last two days. */
async function prepare(path: string): Promise<void> {
  {
    using store = newStore(path);
    await Promise.all(
      Array.from({ length: FUNCTIONS }, (_, i) => store.functions.insert(someFunction(`f${i}`, { name: `fn-${i}` }))),
    );
  }
  makeOlder(path, BEFORE);
  using sqlite = new Sqlite(path, { strict: true });
  const like = someInvocation("");
  const known = sqlite.query<{ name: string }, []>("select name from pragma_table_info('invocations')").all();
  const columns = Object.keys(like).filter((name) => known.some((column) => column.name === name));
  const insert = sqlite.query(
    `insert into invocations (${columns.join()}) values (${columns.map((name) => `$${name}`).join()})`,
  );
  sqlite.run("pragma synchronous = off; begin");
  for (let i = 0; i < RECORDS; i++) {
    const age = ((RECORDS - i) / RECORDS) * (i % 2 === 0 ? SPREAD : 47 * HOUR);
    const status = i % 10 === 0 ? "failed" : "succeeded";
    insert.run({
      ...like,
      id: `0190${i.toString(16).padStart(8, "0")}`,
      function_id: `f${(i * 7919) % FUNCTIONS}`,
      status,
      reason: status === "failed" ? "function_failed" : null,
      run_ms: 1 + (i % 5000) / 7,
      finished_at: timestamp(now - age),
    });
  }
  sqlite.run("commit");
}

/**
 * Follows the event loop; the returned function stops that and returns the most processor time that was used between two of its
 * turns, in milliseconds: other processes do not change it.
 */
function watchLoop(): () => number {
  let used = processorTime();
  let worst = 0;
  const timer = setInterval(() => {
    worst = Math.max(worst, used());
    used = processorTime();
  }, 1);
  return () => {
    clearInterval(timer);
    return worst;
  };
}

test(
  "GET /v1/stats answers quickly while and after the records of an earlier version are counted, which stops nobody",
  async () => {
    await prepare(databasePath(scratch.path));
    const started = await TestServer.start({
      DATA_PATH: scratch.path,
      DOCKER_HOST: "unix:///nowhere/docker.sock",
      RETENTION_COUNT: "2000000",
      RETENTION_DAYS: "90",
    });
    server = started;
    const since = timestamp(now - SPREAD - HOUR);
    const slowest = { first: 0, later: 0 };
    const read = async (query: string, phase: keyof typeof slowest) => {
      const used = processorTime();
      const reply = await started.api<Stats>("GET", `/v1/stats?${query}`);
      slowest[phase] = Math.max(slowest[phase], used());
      return expectSuccess(reply);
    };
    // A server's first answer also waits for the rest of its start.
    for (let i = 0; i < 3; i++) expectSuccess(await started.api("GET", "/v1/stats"));
    const longestStop = watchLoop();
    const began = performance.now();
    for (;;) {
      const { complete } = await read(`since=${since}&step=1d`, "first");
      if (complete) break;
      await Bun.sleep(20);
    }
    const took = performance.now() - began;
    const stop = longestStop();

    const all = await read(`since=${since}&step=1d`, "later");
    expect(all.totals).toMatchObject({ calls: RECORDS, errors: RECORDS / 10, error_ratio: 0.1 });
    expect(all.totals.run_ms?.p50).toBeGreaterThan(100);
    for (const step of ["2m", "5m", "1h"]) await read(`since=${timestamp(now - 47.9 * HOUR)}&step=${step}`, "later");
    await read(`since=${timestamp(now - 24 * HOUR)}&step=1m`, "later");
    for (const name of ["fn-0", "fn-7", `fn-${FUNCTIONS - 1}`]) {
      const one = await read(`since=${since}&step=2h&function_id=${name}`, "later");
      expect(one.totals.calls).toBeGreaterThan(0);
    }
    const size = sizeOf(databasePath(scratch.path));
    if (FULL) console.log({ records: RECORDS, functions: FUNCTIONS, took, stop, slowest, ...size });
    await expectWithin(Math.max(slowest.first, slowest.later), 200);
    await expectWithin(stop, 100);
    for (const { rows, bytes } of size.sizes) {
      expect(rows).toBeLessThanOrEqual(250_000);
      expect(bytes).toBeLessThanOrEqual(64 * 1024 * 1024);
    }
  },
  FULL ? 30 * 60_000 : 2 * 60_000,
);

/** Returns how much figures there are. */
function sizeOf(path: string) {
  using sqlite = new Sqlite(path, { readonly: true });
  return {
    sizes: sqlite
      .query<{ resolution: string; rows: number; bytes: number }, []>("select resolution, rows, bytes from stats_sizes")
      .all(),
    all: sqlite
      .query<{ rows: number; bytes: number }, []>(
        "select count(*) as rows, sum(length(figures)) as bytes from stats_minutes where function_id = ''",
      )
      .get(),
  };
}
