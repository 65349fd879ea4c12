import { DockerPlatform, type DockerPlatformOptions } from "../docker/docker-platform.ts";
import type { ImageInventory } from "../runner/platform.ts";
import { Runner, type RunnerOptions } from "../runner/runner.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Data } from "./data.ts";

/** The ends of the lines from the platform and the runner to the rest of the server. */
export interface RunnerLinks
  extends Pick<DockerPlatformOptions, "credentialsFor" | "onPulled">, Pick<RunnerOptions, "onSwept" | "onRoom"> {}

interface RunnerServices {
  readonly runner: Runner;
  readonly inventory: ImageInventory;
}

/** Runs instances of functions on an engine: the only place that knows which one. */
export function createPlatform(
  { config, log, clock, metrics, stack }: Tools,
  { store }: Data,
  { credentialsFor, onPulled, onSwept, onRoom }: RunnerLinks,
): Capability<RunnerServices> {
  // Disposed of in reverse order: the runner ends its instances, then the platform waits until they are gone.
  const platform = stack.use(
    new DockerPlatform({
      owner: store.settings.ownerId(),
      engine: config.dockerHost,
      engine_timeout_ms: config.engineTimeoutMs,
      pull_timeout_ms: config.pullTimeoutMs,
      context_name: config.contextName,
      context_path: config.contextPath,
      credentialsFor,
      onPulled,
      clock,
      log,
      metrics,
    }),
  );
  const runner = stack.use(
    new Runner({
      platform,
      ready_timeout_ms: config.engineTimeoutMs,
      context_path: config.contextPath,
      max_instances: config.maxInstances,
      memory_budget: config.memoryBudget,
      starts_at_once: config.startsAtOnce,
      warm_max: config.warmMax,
      queue_limit: config.queueLimit,
      function_queue_limit: config.functionQueueLimit,
      response_bytes: config.maxResponseBytes,
      log_bytes: config.logBytes,
      clock,
      log,
      metrics,
      onSwept,
      onRoom,
    }),
  );
  return { services: { runner, inventory: platform.inventory }, start: () => runner.start() };
}
