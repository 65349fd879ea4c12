import { Runner, type RunnerOptions } from "../runner/runner.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Data } from "./data.ts";

/** What the runner asks of the rest of the server, and tells it. */
export type RunnerLinks = Pick<RunnerOptions, "credentialsFor" | "onPulled" | "onSwept" | "onRoom">;

/** Running instances of functions on an engine. */
export function createPlatform(
  { config, log, clock, metrics, stack }: Tools,
  { store }: Data,
  links: RunnerLinks,
): Capability<{ runner: Runner }> {
  const runner = stack.use(
    new Runner({
      ...links,
      log,
      clock,
      metrics,
      owner: store.settings.ownerId(),
      engine: config.dockerHost,
      engine_timeout_ms: config.engineTimeoutMs,
      pull_timeout_ms: config.pullTimeoutMs,
      context_name: config.contextName,
      context_path: config.contextPath,
      max_instances: config.maxInstances,
      memory_budget: config.memoryBudget,
      starts_at_once: config.startsAtOnce,
      warm_max: config.warmMax,
      queue_limit: config.queueLimit,
      function_queue_limit: config.functionQueueLimit,
      response_bytes: config.maxResponseBytes,
      log_bytes: config.logBytes,
    }),
  );
  return { services: { runner }, start: () => runner.start() };
}
