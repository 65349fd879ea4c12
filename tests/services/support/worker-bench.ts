import type { Invocation } from "../../../lib/domain/calls/invocations.ts";
import { timestamp } from "../../../lib/domain/types.ts";
import { InvocationEvents } from "../../../lib/services/calls/events.ts";
import type { Reserve } from "../../../lib/services/work/claimer.ts";
import { EndJudge } from "../../../lib/services/work/ends.ts";
import { Worker } from "../../../lib/services/work/worker.ts";
import type { SqliteStore } from "../../../lib/store/sqlite/store.ts";
import { FakeClock, settled } from "../../support/fake-clock.ts";
import { listeningLog, newStore, someInvocation } from "../../store/sqlite/support/stores.ts";
import { FakeAttempts } from "../work/fake-attempts.ts";
import { NO_TRACING } from "./no-tracing.ts";

/** A worker that has not been started, with a database, attempts and a clock that the test moves. */
export function workerBench(store: SqliteStore = newStore(), reserve?: Reserve) {
  const clock = new FakeClock();
  const attempts = new FakeAttempts();
  const ended: Invocation[] = [];
  const committed: string[] = [];
  const { ledger } = store;
  const end = ledger.end.bind(ledger);
  ledger.end = async (one) => {
    if (one.left === null) ended.push(one.invocation);
    return end(one);
  };
  const { log } = listeningLog();
  const worker = new Worker({
    ledger,
    attempts,
    ends: new EndJudge({ attempts, chains: { following: () => [] }, clock, log }),
    events: new InvocationEvents(),
    callbacks: {
      wake: () => {
        for (const { id } of ended)
          committed.push(store.tables.work.get(id) === undefined && store.tables.deliveries.get(id) ? id : "too early");
      },
    },
    tracing: NO_TRACING,
    ...(reserve && { reserve }),
    clock,
    log,
  });
  const submit = (id: string, fields: { function_id?: string; priority?: number; due?: number } = {}) => {
    const { function_id = "f1", priority = 0, due = clock.now() } = fields;
    const state = due > clock.now() ? ("waiting" as const) : ("ready" as const);
    const invocation = someInvocation(id, {
      function_id,
      status: "queued",
      mode: "async",
      attempts: 0,
      priority,
      created_at: timestamp(clock.now()),
      run_at: timestamp(due),
      callback_url: "https://example.com/",
      finished_at: null,
    });
    store.tables.invocations.put(invocation);
    store.tables.payloads.put({
      invocation_id: id,
      request: Buffer.from("{}"),
      request_meta: null,
      response: null,
      response_meta: null,
    });
    store.tables.work.insert({
      invocation_id: id,
      function_id,
      state,
      priority,
      due,
      attempts: 0,
      lost_attempts: 0,
      lease_until: null,
      waits_since: null,
    });
    worker.queued(invocation);
  };
  const immediately = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    await settled();
  };
  const statusOf = (id: string) => store.tables.invocations.get(id)?.status;
  return { store, clock, attempts, worker, submit, immediately, statusOf, ended, committed };
}
