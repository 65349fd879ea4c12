import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { quoted } from "../../domain/quoted.ts";
import type { ContractName } from "../../domain/functions/contract.ts";
import type { Settings } from "../../domain/functions/settings.ts";
import {
  type AppliedManifest,
  type ApplyOptions,
  byManifestName,
  checkManifestName,
  type Manifest,
  type ManifestRoute,
} from "../../domain/manifest/manifest.ts";
import { manifestOf } from "../../domain/manifest/export.ts";
import {
  changesOf,
  checkFollowers,
  checkTargets,
  type Plan,
  planOf,
  type RouteTarget,
  type Wanted,
} from "../../domain/manifest/plan.ts";
import { checkRouteOptions, completeOptions } from "../../domain/routes/options.ts";
import type { Route } from "../../domain/routes/routes.ts";
import { about, errorAbout } from "../../domain/manifest/about.ts";
import { mapConcurrent, mapInSlices, Slices } from "../../domain/concurrency.ts";
import type { ChainLink } from "../../domain/functions/chains.ts";
import type { FunctionStore, ManifestWrite, ManifestWrites } from "../../store/configuration.ts";
import { retryStale } from "../../store/errors.ts";
import type { Store } from "../../store/store.ts";
import { changesSecrets } from "./preparation.ts";
import type { FollowerCheck } from "./follower-check.ts";
import type { FunctionService } from "./functions.ts";
import { manifestWarnings } from "./manifest-trials.ts";
import type { ImageRetention } from "../images/retention.ts";
import type { RouteService } from "./routes.ts";
import type { SecretService } from "../secrets/secrets.ts";

/** The most functions whose images are looked for, and pulled, at the same time. */
const AT_ONCE = 4;

/** A plan, and the changes of records that carry it out. */
interface Change extends ManifestWrites {
  readonly plan: Plan;
}

/** The services that manifests are applied with. */
export interface ManifestDeps {
  readonly store: Pick<Store, "functions" | "catalogue" | "applyManifest" | "revision">;
  readonly functions: FunctionService;
  readonly routes: RouteService;
  readonly secrets: SecretService;
  readonly followers: Pick<FollowerCheck, "check" | "checkCallbackUrl">;
  readonly retention: Pick<ImageRetention, "holding">;
  /** Schedules that functions have by annotations of another platform, which are among their labels. */
  readonly annotatedSchedules: {
    readonly check: (labels: Function["labels"]) => void;
    readonly follow: (change: { readonly before?: Function | undefined; readonly after: Function }) => Promise<void>;
  };
  readonly clock: Pick<Clock, "monotonic">;
}

/** Exports the functions and routes as a manifest, and applies one. */
export class ManifestService {
  readonly #deps: ManifestDeps;

  constructor(deps: ManifestDeps) {
    this.#deps = deps;
  }

  /** Returns the manifest of this server: applied here, it changes nothing. Also works without the engine. */
  async export(): Promise<Manifest> {
    const { functions, routes } = await this.#deps.store.catalogue();
    const settings = await this.#settingsOfImages(functions);
    const secrets = this.#deps.secrets.list().map(({ name }) => name);
    return manifestOf({ functions, routes, secrets, settingsOfImage: ({ id }) => settings.get(id) });
  }

  /**
   * Brings the functions and routes to the state that a manifest describes, all of them or none. Everything is checked
   * and every image found before anything is changed. A dry run does the same, but pulls and changes nothing.
   */
  async apply(manifest: Manifest, options: ApplyOptions): Promise<AppliedManifest> {
    const { dry_run, probe = true } = options;
    const change = await this.#deps.retention.holding(async () => {
      const wanted = await this.#prepared(manifest, options);
      const written = await this.#write(wanted, options);
      if (!dry_run) await this.#tell(written);
      return written;
    });
    const unscheduled = dry_run ? new Map<string, string>() : await this.#schedule(change);
    const changes = changesOf(change.plan);
    if (dry_run) return { changes, dry_run };
    const { functions, store, clock } = this.#deps;
    const current = (id: string) => store.functions.get(id);
    const found = await manifestWarnings(change.plan.functions, change.functions, { functions, current, clock, probe });
    const warned = changes.map((one) => {
      if (one.kind !== "function") return one;
      const late = unscheduled.get(one.name);
      const warnings = [...(found.get(one.name) ?? []), ...(late === undefined ? [] : [late])];
      return warnings.length === 0 ? one : { ...one, warnings };
    });
    return { changes: warned, dry_run };
  }

  async #prepared(manifest: Manifest, { dry_run, prune, pull }: ApplyOptions): Promise<Wanted> {
    const { functions = {}, routes = {}, secrets = [] } = manifest;
    this.#checkSecrets(secrets);
    const bodies = new Map(Object.entries(functions));
    const present = { functions: await this.#deps.functions.list(), routes: [] };
    const known = byManifestName(present.functions);
    const slices = new Slices();
    for (const [name, body] of bodies) {
      if (slices.over) await slices.next();
      checkManifestName(name);
      about("Function", name, () => {
        this.#deps.functions.preparation.check(body, known.get(name));
        if (body.labels !== undefined) this.#deps.annotatedSchedules.check(body.labels);
        if (typeof body.callback_url === "string") this.#deps.followers.checkCallbackUrl(body.callback_url);
      });
    }
    const targetsFor = async (contractOf: (fn: string) => ContractName) =>
      new Map(
        await mapInSlices(Object.entries(routes), ([name, route]) => [name, this.#target(name, route, contractOf)]),
      );
    // Before an image is looked for. What follows from the contracts comes after that.
    checkTargets(present, { functions: bodies, routes: await targetsFor(() => "files") }, { prune });
    checkFollowers(present, bodies, { prune });
    const find = dry_run ? "look" : pull ? "refresh" : "resolve";
    const prepared = await each([...bodies], async ([name, body]) => {
      if (slices.over) await slices.next();
      const preparing = this.#deps.functions.preparation.prepare(body, { before: known.get(name), find });
      const target = await preparing.catch((error: unknown) => {
        throw errorAbout("Function", name, error);
      });
      return [name, target] as const;
    });
    const made = new Map(prepared);
    const contractOf = (fn: string) => made.get(fn)?.settings.contract ?? known.get(fn)?.contract ?? "files";
    return { functions: made, routes: await targetsFor(contractOf) };
  }

  /** Reads a route of a manifest. Its name is its path, or the first of its hosts. */
  #target(
    name: string,
    { function: fn, ...given }: ManifestRoute,
    contractOf: (fn: string) => ContractName,
  ): RouteTarget {
    const { hosts = [] } = given;
    if (hosts.length === 0) this.#deps.routes.routeAddressOf({ path: name });
    return about("Route", name, () => {
      if (hosts.length > 0) this.#deps.routes.routeAddressOf(name.startsWith("/") ? { path: name, hosts } : { hosts });
      if (hosts.length > 0 && hosts[0] !== name) throw wrongName(hosts[0] ?? "");
      const options = completeOptions(given, contractOf(fn));
      checkRouteOptions(options);
      return { function: fn, options };
    });
  }

  /** Plans and writes, and repeats both if something else is changed in between. */
  #write(wanted: Wanted, { dry_run, prune }: ApplyOptions): Promise<Change> {
    const { store } = this.#deps;
    return retryStale(async () => {
      const { revision } = store;
      // As it is now: finding images may have taken minutes.
      const present = await store.catalogue();
      const plan = await planOf(present, wanted, { prune });
      if (!dry_run) checkImages(plan);
      const byName = byManifestName(present.functions);
      const changed = await this.#functionWrites(plan, byName);
      const deleted = plan.deletedFunctions.flatMap((step) =>
        step.action === "deleted" ? [{ name: step.name, before: step.before }] : [],
      );
      const change: Change = {
        plan,
        functions: [...changed, ...deleted],
        routes: await this.#routeWrites(plan, byName),
      };
      await store.applyManifest(change, { revision, dry_run });
      return change;
    });
  }

  /** Returns the writes of functions; `byName` gets the functions as they will be. */
  async #functionWrites({ functions }: Plan, byName: Map<string, Function>): Promise<ManifestWrite<Function>[]> {
    const steps = await mapInSlices(functions, (step) => {
      if (step.action === "unchanged" || step.action === "deleted") return [];
      const { name, target } = step;
      const before = step.action === "updated" ? step.before : undefined;
      const after =
        before === undefined
          ? this.#deps.functions.recordOf(name, target)
          : this.#deps.functions.replacementOf(before, target);
      byName.set(name, after);
      return [{ name, before, after }];
    });
    const changes = steps.flat();
    // All of them have their ids now, so that each can hand its results to any other.
    const linked = changes.map((change) => ({ ...change, after: withIds(change.after, byName) }));
    for (const { name, after } of linked) byName.set(name, after);
    const known = withChanges(
      this.#deps.store.functions,
      linked.map(({ after }) => after),
    );
    const slices = new Slices();
    for (const { name, before, after } of linked) {
      if (slices.over) await slices.next();
      if (before !== undefined && !changesSecrets(before, after)) continue;
      about("Function", name, () => this.#deps.secrets.check(after));
    }
    for (const { name, after } of linked) {
      if (slices.over) await slices.next();
      about("Function", name, () => this.#deps.followers.check(after, after, known));
    }
    return linked.map(({ name, before, after }) => (before === undefined ? { name, after } : { name, before, after }));
  }

  async #routeWrites({ routes }: Plan, byName: ReadonlyMap<string, Function>): Promise<ManifestWrite<Route>[]> {
    const writes: ManifestWrite<Route>[] = [];
    const slices = new Slices();
    for (const step of routes) {
      if (slices.over) await slices.next();
      const { name } = step;
      if (step.action === "deleted") writes.push({ name, before: step.before });
      if (step.action === "deleted" || step.action === "unchanged") continue;
      const { function: target, options } = step.target;
      const fn = byName.get(target);
      if (fn === undefined) throw new Error(`The plan has a route to "${target}", which is nowhere`);
      const before = step.action === "updated" ? step.before : undefined;
      const after: Route =
        before === undefined
          ? this.#deps.routes.recordOf(
              { path: options.hosts.length > 0 ? null : name, hosts: options.hosts },
              fn,
              options,
            )
          : { id: before.id, path: before.path, function: fn, ...options };
      await this.#deps.routes.checkVersions(after, before).catch((error: unknown) => {
        throw errorAbout("Route", name, error);
      });
      writes.push(before === undefined ? { name, after } : { name, before, after });
    }
    return writes;
  }

  /** Informs the services that keep instances. */
  async #tell({ functions, routes }: ManifestWrites): Promise<void> {
    const slices = new Slices();
    for (const { before, after } of functions) {
      if (slices.over) await slices.next();
      if (after === undefined) {
        if (before !== undefined) this.#deps.functions.deleted(before);
        continue;
      }
      // Another change may have been written, and passed on, while this one went to the disk.
      const now = this.#deps.store.functions.get(after.id);
      if (now === undefined) continue;
      if (before === undefined) this.#deps.functions.created(now.id);
      else this.#deps.functions.changed(before, now);
    }
    for (const { before, after } of routes) {
      if (slices.over) await slices.next();
      this.#deps.routes.changed(before, after);
    }
  }

  /**
   * Brings the schedules of annotated functions in line, also of those that have not changed: an earlier attempt may have been cut.
   * Returns what is wrong with those that could not be, by the names of their functions.
   */
  async #schedule({ plan, functions }: Change): Promise<Map<string, string>> {
    const kept = plan.functions.flatMap((step) =>
      step.action === "unchanged" ? [{ name: step.name, before: step.before, after: step.before }] : [],
    );
    const failed = new Map<string, string>();
    const slices = new Slices();
    for (const { name, before, after } of [...functions, ...kept]) {
      if (slices.over) await slices.next();
      if (after === undefined) continue;
      await this.#deps.annotatedSchedules.follow({ before, after }).catch((error: unknown) => {
        if (!(error instanceof AppError)) throw error;
        failed.set(name, `Its schedule was not made: ${error.message}`);
      });
    }
    return failed;
  }

  #checkSecrets(names: readonly string[]): void {
    const known = new Set(this.#deps.secrets.list().map(({ name }) => name));
    const missing = names.filter((name) => !known.has(name)).map((name) => JSON.stringify(name));
    if (missing.length === 0) return;
    throw new AppError(
      "invalid_request",
      `The manifest names secrets that are not there: ${missing.slice(0, 50).join(", ")}. PUT /v1/secrets/<name> first`,
    );
  }

  /** Returns the settings that images give, by the ids of their functions; unknown ones are left out. */
  async #settingsOfImages(functions: readonly Function[]): Promise<Map<string, Partial<Settings>>> {
    const found = new Map<string, Partial<Settings>>();
    let away = false;
    await each(functions, async (fn) => {
      try {
        const settings = away ? undefined : await this.#deps.functions.preparation.settingsOfImage(fn);
        if (settings !== undefined) found.set(fn.id, settings);
      } catch (error) {
        if (!(error instanceof AppError) || error.reason !== "engine_unavailable") throw error;
        // The engine would keep each of them waiting.
        away = true;
      }
    });
    return found;
  }
}

function wrongName(host: string): AppError {
  return new AppError(
    "invalid_request",
    `a route with hosts is named by the first of them: write its name as ${quoted(host)}`,
  );
}

/** Returns a function with its followers by their ids; a manifest has their names. */
function withIds(fn: Function, byName: ReadonlyMap<string, Function>): Function {
  const idOf = (name: string | null) => (name === null ? null : (byName.get(name)?.id ?? name));
  return { ...fn, on_success: idOf(fn.on_success), on_failure: idOf(fn.on_failure) };
}

/** Throws `conflict` if an image is missing because others changed a function while images were looked for. */
function checkImages({ functions }: Plan): void {
  for (const step of functions) {
    const wantsImage =
      step.action === "created" || (step.action === "updated" && step.before.image !== step.target.image);
    if (!wantsImage || step.target.resolved !== undefined) continue;
    throw new AppError("conflict", `The function "${step.name}" was changed or deleted meanwhile: apply again`);
  }
}

/** Runs `work` for each item, some at once, and throws the error of the first of them that has one. */
async function each<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const ends = await mapConcurrent(items, AT_ONCE, async (item) => (await Promise.allSettled([work(item)]))[0]);
  return ends.map((end) => {
    if (end.status === "fulfilled") return end.value;
    throw end.reason;
  });
}

/** Returns the functions of a store as they will be after some of them were added or changed. */
function withChanges(functions: Pick<FunctionStore, "get" | "links">, changed: readonly Function[]) {
  const byId = new Map(changed.map((fn) => [fn.id, fn]));
  let links: ChainLink[] | undefined;
  return {
    get: (id: string) => byId.get(id) ?? functions.get(id),
    // Once for all functions of the manifest: nothing else is written before them.
    links: (): ChainLink[] => (links ??= [...functions.links().filter(({ id }) => !byId.has(id)), ...changed]),
  };
}
