import { calmLog } from "../calm-log.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { Runner } from "../runner/runner.ts";
import type { CallbackService } from "../services/callbacks/callbacks.ts";
import { type AttemptMemory, AttemptRunner } from "../services/work/attempt-runner.ts";
import { ChainService } from "../services/work/chains.ts";
import { EndJudge } from "../services/work/ends.ts";
import { Queue } from "../services/work/queue.ts";
import { ReplayService } from "../services/work/replays.ts";
import { AnnotatedSchedules } from "../services/work/annotated-schedules.ts";
import { ScheduleService } from "../services/work/schedules.ts";
import { Worker } from "../services/work/worker.ts";
import type { Calls } from "./calls.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Data } from "./data.ts";
import { createRemote, type RemoteLinks } from "./cluster/remote.ts";

interface WorkLinks extends Pick<Catalogue, "functions" | "routes" | "secrets">, Pick<Calls, "invocations" | "events"> {
  readonly runner: Runner;
  readonly callbacks: CallbackService;
  readonly bodyMemory: AttemptMemory;
  readonly others: RemoteLinks["others"];
}

/** Composes the services for asynchronous calls: the queue, its worker, chains, schedules and replays. */
export function createWork(tools: Tools, { store }: Data, links: WorkLinks) {
  const { config, log, clock, metrics, tracing, stack } = tools;
  const { runner, functions, routes, secrets, invocations, events, callbacks, bodyMemory: memory, others } = links;
  const secretsFor = (fn: Function) => secrets.valuesFor(fn);
  const calm = calmLog(log, clock);
  const attempts = new AttemptRunner({
    store,
    functions,
    routes,
    runner,
    secretsFor,
    metrics,
    tracing,
    memory,
    response_bytes: config.maxResponseBytes,
  });
  const chains = new ChainService({ functions: store.functions, tracing, clock, log });
  const ends = new EndJudge({ attempts, chains, clock, log });
  const worker = stack.use(
    new Worker({
      ledger: store.ledger,
      attempts,
      ends,
      events,
      callbacks,
      tracing,
      ...(store.ledger.isShared && { reserve: (id: string, most: number) => attempts.reserve(id, most) }),
      clock,
      log: calm,
    }),
  );
  const queue = stack.use(new Queue({ store, worker, ends, events, callbacks, tracing, clock }));
  const schedules = stack.use(
    new ScheduleService({
      store,
      functions,
      worker,
      tracing,
      clock,
      log: calm,
      min_interval_ms: config.minScheduleIntervalMs,
    }),
  );
  const annotatedSchedules = new AnnotatedSchedules({ store, schedules });
  const remote = stack.use(createRemote(tools, store, { worker, events, runner, others }));
  const replays = new ReplayService({ store, invocations, functions, queue, worker, tracing, clock });
  return {
    services: { worker, queue, schedules, annotatedSchedules, replays },
    start: () => {
      for (const each of [worker, queue, schedules, remote]) each.start();
    },
    leave: () => worker.leave(),
    drain: (graceMs: number) => worker.drain(graceMs),
  } satisfies Capability;
}
