import { calmLog } from "../calm-log.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { Runner } from "../runner/runner.ts";
import { InvocationEvents } from "../services/calls/events.ts";
import { IdempotentCalls } from "../services/calls/idempotent-calls.ts";
import type { KeptMemory } from "../services/calls/bodies/kept-body.ts";
import type { Elsewhere } from "../services/calls/call.ts";
import { InvocationService } from "../services/calls/invocations.ts";
import { Recorder } from "../services/calls/recorder.ts";
import { ResultService } from "../services/calls/results.ts";
import { StatsService } from "../services/calls/stats.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Data } from "./data.ts";

const DAY_MS = 86_400_000;

interface CallLinks extends Pick<Catalogue, "functions" | "secrets"> {
  readonly runner: Runner;
  readonly bodyMemory: KeptMemory;
  /** Undefined without other servers. */
  readonly hops?: Elsewhere | undefined;
}

/** Composes the services for synchronous calls, and for the records of all calls. */
export function createCalls(
  { config, log, clock, metrics, tracing, stack }: Tools,
  { store, members }: Data,
  { runner, functions, secrets, bodyMemory: memory, hops: elsewhere }: CallLinks,
) {
  const retention = { max_age_ms: config.retentionDays * DAY_MS, max_count: config.retentionCount };
  const calm = calmLog(log, clock);
  const recorder = stack.use(new Recorder({ history: store.history, clock, log: calm, metrics, retention, tracing }));
  const events = new InvocationEvents(store.notices === null ? undefined : (id) => store.notices?.send("changed", id));
  const secretsFor = (fn: Function) => secrets.valuesFor(fn);
  const invocations = stack.use(
    new InvocationService({
      history: store.history,
      recorder,
      functions,
      runner,
      memory,
      kept_bytes: config.maxResponseBytes,
      secretsFor,
      clock,
      log,
      metrics,
      events,
      tracing,
      elsewhere,
    }),
  );
  const results = new ResultService({ history: store.history, invocations, events, clock, server_id: members?.id });
  const idempotentCalls = new IdempotentCalls({
    ledger: store.ledger,
    invocations,
    results,
    kept_bytes: config.maxResponseBytes,
    clock,
    log,
  });
  const stats = stack.use(new StatsService({ store: store.stats, recorder, functions, clock, log: calm }));
  return {
    services: { invocations, idempotentCalls, results, events, stats },
    // Before the first request: every call that a record says is running was lost with an earlier server.
    prepare: () => recorder.start(),
    start: () => stats.start(),
    drain: async (graceMs: number) => {
      await invocations.drain(graceMs);
      await idempotentCalls.settled();
    },
  } satisfies Capability;
}

/** The services for calls. */
export type Calls = ReturnType<typeof createCalls>["services"];
