import type { Runner } from "../runner/runner.ts";
import { StatusService } from "../services/status.ts";
import type { Capability, Tools } from "./capability.ts";
import { type Data, databaseBytes } from "./data.ts";
import { IdleCollector } from "./idle-collector.ts";
import { watchProcess } from "./process-metrics.ts";

/** Composes the server as a process: whether it works, what it uses, and the memory that it gives back. */
export function createProcess(
  { config, log, clock, metrics, stack }: Tools,
  { store }: Data,
  { runner }: { readonly runner: Runner },
) {
  const status = new StatusService({ runner, probeDatabase: () => store.check(), clock });
  watchProcess(metrics, clock, () => databaseBytes(config));
  const collector = stack.use(new IdleCollector({ log, clock }));
  return { services: { status }, start: () => collector.start() } satisfies Capability;
}
