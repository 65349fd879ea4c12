import { AppError } from "../../../lib/domain/errors.ts";
import type { ImageSignals } from "../../../lib/domain/functions/detection.ts";
import type { Function } from "../../../lib/domain/functions/functions.ts";
import type { Settings } from "../../../lib/domain/functions/settings.ts";
import { FollowerCheck } from "../../../lib/services/functions/follower-check.ts";
import type { TrialBoot } from "../../../lib/services/functions/contract-choice.ts";
import { FunctionService } from "../../../lib/services/functions/functions.ts";
import { ManifestService } from "../../../lib/services/functions/manifest.ts";
import { RouteService } from "../../../lib/services/functions/routes.ts";
import { SecretService } from "../../../lib/services/secrets/secrets.ts";
import { Vault } from "../../../lib/services/secrets/vault.ts";
import { listeningLog, newStore, stillClock } from "../../store/sqlite/support/stores.ts";

type Labels = Readonly<Record<string, string>>;

/** The part of a runner that services need to change functions: images with labels, and a note of its calls. */
export class FakeEngine {
  /** Labels of images by reference; each image has the id `id of <reference>`. */
  readonly labels = new Map<string, Labels>();
  /** The contract that images declare, by reference; without it they declare none. */
  readonly signs = new Map<string, Partial<ImageSignals>>();
  /** The ids of images that the engine has lost or never had. */
  readonly lost = new Set<string>();
  readonly told: string[] = [];
  readonly pulled: string[] = [];
  /** Called whenever an image is looked for by its reference. */
  onFind: (reference: string) => Promise<void> = () => Promise.resolve();
  /** Throws if settings are impossible. */
  onCheck: (settings: Partial<Settings>, imageId?: string | null) => void = () => undefined;

  readonly images = {
    resolve: async (reference: string) => {
      this.pulled.push(reference);
      await this.onFind(reference);
      return found(reference);
    },
    refresh: async (reference: string) => {
      this.pulled.push(`${reference} anew`);
      await this.onFind(reference);
      return { image_id: `new id of ${reference}`, digest: null };
    },
    look: async (reference: string) => {
      await this.onFind(reference);
      return this.labels.has(reference) ? found(reference) : undefined;
    },
    checkReach: () => undefined,
    signals: (imageId: string): Promise<ImageSignals | undefined> => {
      if (this.lost.has(imageId)) return Promise.resolve(undefined);
      const reference = imageId.replace(/^(?:new )?id of /, "");
      return Promise.resolve({
        entrypoint: [],
        command: ["run"],
        variables: {},
        exposed_ports: [],
        labels: this.labels.get(reference) ?? {},
        ...this.signs.get(reference),
      });
    },
    checkCommand: ({ entrypoint }: Partial<Settings>) =>
      entrypoint?.[0] === "nothing"
        ? Promise.reject(new AppError("image_invalid", "There is nothing to run"))
        : Promise.resolve(),
  };

  /** Boots a function in a trial; here all of them end. */
  trialBoot: TrialBoot = () => Promise.resolve({ listens: false, why: "it ended" });

  async check(settings: Partial<Settings>, imageId?: string | null): Promise<void> {
    this.onCheck(settings, imageId);
  }

  poolsOf(): [] {
    return [];
  }

  /** The error of a trial of an instance; it works if there is none. */
  onTryOut: (fn: Function) => Promise<void> = () => Promise.resolve();

  tryOut(fn: Function): Promise<void> {
    this.told.push(`try out ${fn.name ?? fn.id}`);
    return this.onTryOut(fn);
  }

  lastBootOf(): undefined {
    return undefined;
  }

  name({ id }: { readonly id: string }): void {
    this.told.push(`name ${id}`);
  }

  warm(): void {
    this.told.push("warm");
  }

  update({ id, version }: { readonly id: string; readonly version: number }): void {
    this.told.push(`update ${id} to version ${version}`);
  }

  remove(id: string): void {
    this.told.push(`remove ${id}`);
  }
}

function found(reference: string) {
  return { image_id: `id of ${reference}`, digest: null };
}

/** The services of a manifest on a database in memory, and an engine that has every image. */
export function manifestServices(path?: string) {
  const clock = stillClock();
  const store = newStore(path, clock);
  const engine = new FakeEngine();
  const { log } = listeningLog();
  const secrets = new SecretService({
    store,
    clock,
    log,
    vault: Vault.forgetful(),
    onChange: (name) => void engine.told.push(`secret ${name}`),
  });
  const retention = { holding: <T>(work: () => Promise<T>) => work(), soon: () => undefined };
  const followers = new FollowerCheck({
    functions: store.functions,
    allowed: { names: new Set(), ranges: [] },
  });
  const functions = new FunctionService({
    store,
    retention,
    secrets,
    followers,
    runner: engine,
    clock,
    log,
    onForget: ({ name }) => void engine.told.push(`forget ${name}`),
  });
  const routes = new RouteService({ store, functions, clock, ownNames: new Set(["api.example.com"]) });
  const annotatedSchedules = { check: () => undefined, follow: async () => undefined };
  const manifests = new ManifestService({
    store,
    functions,
    routes,
    secrets,
    followers,
    retention,
    annotatedSchedules,
    clock,
  });
  return {
    store,
    engine,
    secrets,
    functions,
    routes,
    manifests,
    dump: async () => ({
      functions: store.functions.list(),
      routes: store.routes.list(),
      versions: await Promise.all(
        store.functions.list().map(({ id }) =>
          store.versions.list(id, {
            below: 1_000,
            limit: 1_000,
          }),
        ),
      ),
    }),
    [Symbol.dispose]: () => store[Symbol.dispose](),
  };
}
