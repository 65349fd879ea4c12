import type { Runner } from "../runner/runner.ts";
import type { Platform } from "../runner/platform.ts";
import type { Members } from "../services/cluster/members.ts";
import { StatusService } from "../services/status.ts";
import { SystemService } from "../services/system.ts";
import type { Capability, Tools } from "./capability.ts";
import { type Data, databaseBytes } from "./data.ts";
import { IdleCollector } from "./idle-collector.ts";
import { watchProcess } from "./process-metrics.ts";

interface ProcessLinks {
  readonly runner: Runner;
  readonly platform: Platform;
  readonly bodyMemory: { readonly used: number };
  readonly builds: { readonly isBusy: boolean };
  readonly members?: Members | undefined;
}

/** Composes the server as a process: whether it works, what it uses, and the memory that it gives back. */
export function createProcess(
  { config, log, clock, metrics, stack }: Tools,
  { store }: Data,
  { runner, platform, bodyMemory, builds, members }: ProcessLinks,
) {
  const status = new StatusService({ runner, probeDatabase: () => store.check(), clock });
  const system = new SystemService({
    status,
    runner,
    platform,
    store,
    builds,
    body_memory: bodyMemory,
    body_bytes: config.bodyMemory,
    queue_bytes: config.queueBytes,
    databaseBytes: () => databaseBytes(config),
    servers: members && (() => members.list()),
    clock,
    log,
  });
  watchProcess(metrics, clock, { bytes: () => databaseBytes(config), isUp: () => store.isUp });
  const collector = stack.use(new IdleCollector({ log, clock }));
  return {
    services: { status, system },
    start: () => collector.start(),
    leave: () => status.leave(),
  } satisfies Capability;
}
