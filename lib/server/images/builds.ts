import { join } from "node:path";
import type { Platform } from "../../runner/platform.ts";
import { BuildService } from "../../services/builds/builds.ts";
import { ContextFiles } from "../../services/builds/context-files.ts";
import { Leftovers } from "../../services/builds/leftovers.ts";
import type { ImageRetention } from "../../services/images/retention.ts";
import type { Capability, Tools } from "../capability.ts";
import type { Data } from "../data.ts";

interface BuildLinks {
  readonly platform: Platform;
  readonly retention: ImageRetention;
}

/** Composes the services that build images. */
export function createBuilds(
  { config, log, clock, stack }: Tools,
  { store }: Data,
  { platform: { builder }, retention }: BuildLinks,
) {
  const files = new ContextFiles(join(config.dataPath, "builds"));
  const leftovers = stack.use(
    new Leftovers({ builder, times: () => builds.times(), isBusy: () => builds.isBusy, clock, log }),
  );
  const builds: BuildService = stack.use(
    new BuildService({
      store: store.builds,
      builder,
      retention,
      files,
      leftovers,
      timeout_ms: config.buildTimeoutMs,
      at_once: config.buildsAtOnce,
      clock,
      log,
    }),
  );
  return {
    services: { builds },
    prepare: () => builds.prepare(),
    start: () => builds.start(),
    drain: (graceMs: number) => builds.drain(graceMs),
  } satisfies Capability;
}
