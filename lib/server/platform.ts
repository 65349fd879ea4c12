import { DockerPlatform, type DockerPlatformOptions } from "../docker/docker-platform.ts";
import type { Platform } from "../runner/platform.ts";
import { Runner, type RunnerOptions } from "../runner/runner.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Data } from "./data.ts";

/** The calls that the runner and its platform make to the rest of the server. */
export type RunnerLinks = Pick<
  DockerPlatformOptions,
  "credentialsFor" | "allCredentials" | "onPulled" | "pulledNames" | "onImageRenamed"
> &
  Pick<RunnerOptions, "onSwept" | "onRoom" | "secretsFor">;

/** Composes the platform and its runner. The only place that knows which platform it is. */
export async function createPlatform(
  { config, log, clock, metrics, stack }: Tools,
  { store, engine }: Data,
  { onSwept, onRoom, secretsFor, ...images }: RunnerLinks,
): Promise<Capability<{ platform: Platform; runner: Runner }>> {
  const platform: Platform = stack.use(
    new DockerPlatform({
      ...images,
      log,
      clock,
      metrics,
      owner: await store.settings.ownerId(),
      engine,
      engine_timeout_ms: config.engineTimeoutMs,
      pull_timeout_ms: config.pullTimeoutMs,
      build_bytes: config.buildBytes,
      build_timeout_ms: config.buildTimeoutMs,
      context_name: config.contextName,
      context_path: config.contextPath,
    }),
  );
  const runner = stack.use(
    new Runner({
      platform,
      onSwept,
      onRoom,
      secretsFor,
      log,
      clock,
      metrics,
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
    }),
  );
  return { services: { platform, runner }, start: () => runner.start() };
}
