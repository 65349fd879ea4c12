import { expect, test } from "bun:test";
import { InvocationEvents } from "../../../lib/services/calls/events.ts";
import { EndJudge } from "../../../lib/services/work/ends.ts";
import { Worker } from "../../../lib/services/work/worker.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { eventually } from "../../support/pace.ts";
import { newDatabase } from "../../support/postgres/test-databases.ts";
import { LEASE_MS, newWork } from "../../store/contract/records.ts";
import { listeningLog } from "../../store/sqlite/support/stores.ts";
import { NO_TRACING } from "../support/no-tracing.ts";
import { FakeAttempts } from "./fake-attempts.ts";

/** A worker looks each second. */
const TICK_MS = 1_000;

test("a server that was frozen with its whole machine ends the runs that others have by now at its first look, and drops their ends", async () => {
  const { url } = await newDatabase();
  const { log } = listeningLog();
  const [frozen, running] = [new FakeClock(), new FakeClock()];
  const options = (server_id: string, clock: FakeClock) => ({ log, clock, server_id, reclaim_pause_ms: 0 });
  await using a = await openPostgresStore(url, options("a", frozen));
  await using b = await openPostgresStore(url, options("b", running));
  const attempts = new FakeAttempts();
  await using worker = new Worker({
    ledger: a.ledger,
    attempts,
    ends: new EndJudge({ attempts, chains: { following: () => [] }, clock: frozen, log }),
    events: new InvocationEvents(),
    callbacks: { wake: () => undefined },
    tracing: NO_TRACING,
    clock: frozen,
    log,
  });
  for (const id of ["x", "y"]) await a.ledger.submit(newWork(id, { function_id: id }));
  worker.start();
  expect(await eventually(() => attempts.tasks.length === 2)).toBe(true);
  // The machine of A stands still, and so does its clock.
  await running.advance(2 * LEASE_MS);
  expect(await b.ledger.lost(running.now())).toHaveLength(2);
  // It goes on.
  await frozen.advance(TICK_MS);
  expect(await eventually(() => attempts.tasks.every(({ signal }) => signal.aborted))).toBe(true);
  expect(await eventually(() => worker.running === 0)).toBe(true);
  expect(attempts.counted).toEqual([]);
});
