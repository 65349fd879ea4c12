import { DockerPlatform, type DockerPlatformOptions } from "../docker/docker-platform.ts";
import type { Clock } from "../clock.ts";
import type { Platform } from "../runner/platform.ts";
import type { PlaceKeeper } from "../runner/shared-places.ts";
import { Runner, type RunnerOptions } from "../runner/runner.ts";
import type { Store } from "../store/store.ts";
import type { Members } from "../services/cluster/members.ts";
import { OwnIds } from "../services/images/own-ids.ts";
import type { ImageRetention } from "../services/images/retention.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Data } from "./data.ts";

/** The calls that the runner and its platform make to the rest of the server. */
export type RunnerLinks = Pick<DockerPlatformOptions, "credentialsFor" | "allCredentials" | "onImageRenamed"> &
  Pick<RunnerOptions, "onSwept" | "onRoom" | "secretsFor"> & {
    readonly retention: () => ImageRetention;
    /** Returns the servers of the database; undefined if this one has it for itself. */
    readonly members: () => Members | undefined;
  };

/** Composes the platform and its runner. The only place that knows which platform it is. */
export async function createPlatform(
  { config, log, clock, metrics, stack }: Tools,
  { store, engine, members: isShared }: Data,
  { onSwept, onRoom, secretsFor, retention, members, ...images }: RunnerLinks,
): Promise<Capability<{ platform: Platform; runner: Runner }>> {
  const elsewhere = () => members()?.elsewhere ?? [];
  const shareOf = (places: number) => members()?.shareOf(places) ?? places;
  const platform: Platform = stack.use(
    new DockerPlatform({
      ...images,
      shared: isShared && new OwnIds({ store: store.settings, retention, elsewhere, log }),
      onPulled: (pulled) => retention().pulled(pulled),
      pulledNames: (imageId) => retention().namesOf(imageId),
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
      place_keeper: placeKeeper(store, clock, shareOf),
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
  return {
    services: { platform, runner },
    // No call of an earlier process of this server runs any more.
    prepare: () => store.sharedPlaces?.clear(),
    start: () => runner.start(),
  };
}

/** Returns how places that servers share are asked for; null if there is one server. */
function placeKeeper(
  { sharedPlaces, notices }: Store,
  clock: Clock,
  shareOf: PlaceKeeper["shareOf"],
): PlaceKeeper | null {
  if (sharedPlaces === null) return null;
  return {
    set: (functionId, { places, most, for_ms }) => {
      const now = clock.now();
      return sharedPlaces.set(functionId, { places, most, now, until: now + for_ms });
    },
    shareOf,
    tell: (news, functionId) => notices?.send(news, functionId),
  };
}
