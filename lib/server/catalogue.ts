import { hostname } from "node:os";
import type { Config } from "../config/config.ts";
import { messageOf } from "../domain/errors.ts";
import { nameInHost } from "../domain/routes/hosts.ts";
import type { Platform } from "../runner/platform.ts";
import type { Runner } from "../runner/runner.ts";
import { ChangesElsewhere } from "../services/functions/changes-elsewhere.ts";
import { FollowerCheck } from "../services/functions/follower-check.ts";
import { FunctionService } from "../services/functions/functions.ts";
import { type ManifestDeps, ManifestService } from "../services/functions/manifest.ts";
import { RouteService } from "../services/functions/routes.ts";
import { VersionService } from "../services/functions/versions.ts";
import { RegistryService } from "../services/images/registries.ts";
import { ImageRetention } from "../services/images/retention.ts";
import { SecretService } from "../services/secrets/secrets.ts";
import type { Capability, Tools } from "./capability.ts";
import type { Data } from "./data.ts";
import { labelOf } from "../services/calls/record.ts";

interface CatalogueLinks {
  /** Made later, with what queues runs. */
  readonly annotatedSchedules: ManifestDeps["annotatedSchedules"];
  readonly platform: Platform;
  readonly runner: Runner;
  /** See `ImageRetention`. */
  readonly onBuiltRemoved: () => void;
}

/** Composes the services for what can be called: functions, their versions, routes, secrets and images. */
export function createCatalogue(
  { config, log, clock, metrics, stack }: Tools,
  { store, vault }: Data,
  { platform, runner, annotatedSchedules, onBuiltRemoved }: CatalogueLinks,
) {
  const registries = new RegistryService({ store: store.registries, vault, runner, clock, log });
  const retention = stack.use(
    new ImageRetention({
      store: store.pulledImages,
      images: platform.inventory,
      keep: config.keepVersions,
      onBuiltRemoved,
      clock,
      log,
    }),
  );
  const secrets = new SecretService({
    store,
    vault,
    clock,
    log,
    onChange: (name) => runner.secretChanged(name),
  });
  store.secrets.follow((name) => runner.secretChanged(name));
  const followers = new FollowerCheck({ functions: store.functions, allowed: config.callbackAllow });
  const functions = new FunctionService({
    store,
    retention,
    secrets,
    runner,
    clock,
    log,
    followers,
    onForget: (fn) => metrics.forget(labelOf(fn)),
  });
  void new ChangesElsewhere({ store, functions, runner, retention });
  const versions = new VersionService({ store: store.versions, functions, secrets, retention, runner });
  const routes = new RouteService({ store, functions, clock, ownNames: ownNames(config) });
  let warming: Promise<void> = Promise.resolve();
  stack.defer(() => warming);
  const manifests = new ManifestService({
    store,
    functions,
    routes,
    secrets,
    retention,
    followers,
    annotatedSchedules,
    clock,
  });
  return {
    services: { functions, versions, routes, secrets, registries, manifests, retention, followers },
    start: () => {
      retention.start();
      warming = functions.warm().catch((error: unknown) => {
        log.warn("functions could not be made ready, each will be at its first call", { problem: messageOf(error) });
      });
    },
  } satisfies Capability;
}

/** Returns the names by which the API is reached, as far as the configuration and the machine know them. */
function ownNames({ host, allowedHosts }: Config): ReadonlySet<string> {
  return new Set([host, hostname(), ...allowedHosts].map(nameInHost));
}

/** The services of the catalogue. */
export type Catalogue = ReturnType<typeof createCatalogue>["services"];
