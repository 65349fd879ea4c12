import type { Clock } from "../../clock.ts";
import { checkEnvironment } from "../../domain/environment.ts";
import type { Boot } from "../../domain/calls/boots.ts";
import { Slices } from "../../domain/concurrency.ts";
import { AppError } from "../../domain/errors.ts";
import { contractOf, isBooted } from "../../domain/functions/contract.ts";
import type { Settings } from "../../domain/functions/settings.ts";
import { FOLLOWERS } from "../../domain/functions/chains.ts";
import { cellsToCheck, checkSettings, fullSettings, settingsAfterChange } from "../../domain/functions/rules.ts";
import {
  type ChangedFunction,
  type CreateFunction,
  type Function,
  type FunctionPools,
  FUNCTION_DEFAULTS,
  checkFunctionName,
  type PoolState,
  type UpdateFunction,
  type VersionPool,
} from "../../domain/functions/functions.ts";
import { FUNCTIONS } from "../../domain/limits.ts";
import type { Page, PageQuery } from "../../domain/functions/pages.ts";
import { notFound } from "../../domain/quoted.ts";
import type { FunctionTarget } from "../../domain/manifest/plan.ts";
import type { PullWatcher } from "../../domain/images/pull-progress.ts";
import type { RenamedImage } from "../../domain/images/pulled-images.ts";
import { timestamp } from "../../domain/types.ts";
import { numbered } from "../../domain/functions/versions.ts";
import type { Logger } from "../../log.ts";
import type { Runner } from "../../runner/runner.ts";
import type { Basis } from "../../store/configuration.ts";
import { retryStale } from "../../store/errors.ts";
import type { Store } from "../../store/store.ts";
import { DeploymentProbe } from "./deployment-probe.ts";
import type { FollowerCheck } from "./follower-check.ts";
import { type EngineKnowledge, FunctionPreparation } from "./preparation.ts";
import { portsAfterPull } from "./contract-change.ts";
import type { ImageRetention } from "../images/retention.ts";
import type { SecretService } from "../secrets/secrets.ts";

/** The part of the runner that functions need. */
type FunctionRunner = EngineKnowledge &
  Pick<Runner, "poolsOf" | "lastBootOf" | "name" | "warm" | "update" | "remove" | "tryOut">;

interface FunctionDeps {
  readonly store: Pick<Store, "functions" | "versions" | "revision">;
  readonly retention: Pick<ImageRetention, "holding" | "soon">;
  readonly secrets: SecretService;
  readonly followers: FollowerCheck;
  readonly runner: FunctionRunner;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called for a function that no longer exists under the name or id that it had. */
  readonly onForget: (fn: Function) => void;
}

/** Manages functions. */
export class FunctionService {
  /** Prepares functions that are described as a whole. */
  readonly preparation: FunctionPreparation;
  readonly #deps: FunctionDeps;
  readonly #probe: DeploymentProbe;

  constructor(deps: FunctionDeps) {
    this.preparation = new FunctionPreparation(deps);
    this.#probe = new DeploymentProbe(deps);
    this.#deps = deps;
  }

  /** Lists all functions, oldest first. */
  list(): Promise<Function[]> {
    return this.#deps.store.functions.all();
  }

  page(query: PageQuery): Promise<Page<Function>> {
    return this.#deps.store.functions.page(query);
  }

  /** Finds a function by its id or name; throws `not_found`. */
  get(idOrName: string): Function {
    const found = this.#deps.store.functions.find(idOrName);
    if (found === undefined) throw notFound("function", idOrName);
    return found;
  }

  /** Returns the instances of a function as they are now. */
  poolsOf({ id, version: current }: Function): FunctionPools {
    let pool = NO_POOL;
    const version_pools: VersionPool[] = [];
    for (const state of this.#deps.runner.poolsOf(id)) {
      const { version, ...instances } = state;
      if (version === current) pool = instances;
      else version_pools.push(state);
    }
    return { pool, version_pools };
  }

  /** Returns how a function booted last; throws `not_found` for one that has not booted since the server's start. */
  lastBootOf(idOrName: string): Boot {
    const { id, name, contract } = this.get(idOrName);
    const boot = this.#deps.runner.lastBootOf(id);
    if (boot !== undefined) return boot;
    const why = isBooted(contract)
      ? "has not booted since the server's start"
      : `has the contract "${contract}" and never boots`;
    throw new AppError("not_found", `The function "${name ?? id}" ${why}`);
  }

  /**
   * Returns a version of a function as calls run it: its name is the function's, and so is the number of calls of all
   * versions that may run at once. Only for versions that routes name.
   */
  at(fn: Function, version: number): Function | undefined {
    if (version === fn.version) return fn;
    const { name, max_concurrency } = fn;
    const found = this.#deps.store.versions.get(fn.id, version);
    return found && { ...found, name, max_concurrency };
  }

  /** Returns any version of a function that is kept, as calls run it; undefined if it is not kept. */
  async findVersion(fn: Function, version: number): Promise<Function | undefined> {
    if (version === fn.version) return fn;
    const { name, max_concurrency } = fn;
    const found = await this.#deps.store.versions.find(fn.id, version);
    return found && { ...found, name, max_concurrency };
  }

  /**
   * Throws `image_invalid` for a version of a function whose image other servers that live cannot get; not for one with the image that
   * the function has anyway.
   */
  checkReach(fn: Function, version: Function): void {
    if (version.image_id === null || version.image_id !== fn.image_id) this.#deps.runner.images.checkReach(version);
  }

  /** Keeps the versions ready that the routes of a function name now that they have changed. */
  routesChanged(id: string): void {
    const fn = this.#deps.store.functions.get(id);
    if (fn === undefined) return;
    this.#deps.runner.name(fn, this.#named(fn));
    this.#deps.retention.soon();
  }

  /** Starts the instances of functions, and of their versions, that are to be ready before they are called. */
  async warm(): Promise<void> {
    const warm = (fn: Function | undefined) => fn !== undefined && fn.warm_min > 0 && this.#deps.runner.warm(fn);
    const slices = new Slices();
    for (const { id, warm_min } of await this.list()) {
      // One that has got a `warm_min` meanwhile was warmed by that change.
      if (warm_min > 0) warm(this.#deps.store.functions.get(id));
      if (slices.over) await slices.next();
    }
    for (const { id, version } of this.#deps.store.versions.allNamed()) {
      const fn = this.#deps.store.functions.get(id);
      if (fn !== undefined) warm(this.at(fn, version));
      if (slices.over) await slices.next();
    }
  }

  /** Returns the id for an id or a name; the id of a function that no longer exists stands for itself. */
  idOf(idOrName: string): string {
    return this.#deps.store.functions.find(idOrName)?.id ?? idOrName;
  }

  /** Registers an image, which is pulled if the engine does not have it; its labels are defaults for the settings. */
  async create(body: CreateFunction, watcher?: PullWatcher): Promise<ChangedFunction> {
    const created = await this.#deps.retention.holding(() => this.#create(body, watcher));
    return this.#probe.tryOut(undefined, created, body);
  }

  async #create(body: CreateFunction, watcher?: PullWatcher): Promise<ChangedFunction> {
    this.#check(body, null);
    this.preparation.check(body);
    const followers = leadsSomewhere(body) ? this.#deps.followers.resolve(body) : {};
    if (this.#deps.store.functions.count() >= FUNCTIONS) {
      throw new AppError("conflict", `There are ${FUNCTIONS} functions already: delete some`);
    }
    const target = await this.preparation.prepare(body, { find: "resolve", watcher });
    const created: Function = { ...this.recordOf(body.name ?? null, target), ...followers };
    await this.#insert(created);
    return withWarning(this.created(created.id), target);
  }

  /** Writes a new function; one that names other records is checked against them as they are at that moment. */
  #insert(created: Function): Promise<void> {
    const { store, secrets, followers } = this.#deps;
    if (this.#basisOf(created) === undefined) return store.functions.insert(created);
    return retryStale(() => {
      const basis = this.#basisOf(created);
      secrets.check(created);
      followers.check(created, created);
      return store.functions.insert(created, basis);
    });
  }

  /** Returns the record of a new function. */
  recordOf(name: string | null, { image, environment, settings, origins, resolved }: FunctionTarget): Function {
    const now = timestamp(this.#deps.clock.now());
    const { image_id = null, digest = null } = resolved ?? {};
    return {
      ...FUNCTION_DEFAULTS,
      ...settings,
      ...origins,
      image_id,
      digest,
      image,
      environment,
      name,
      id: this.#deps.clock.uuid(),
      created_at: now,
      updated_at: now,
    };
  }

  /** Returns the record of a function whose settings are all replaced, with its next version. */
  replacementOf(before: Function, target: FunctionTarget): Function {
    const { image, environment, settings, origins, resolved } = target;
    const updated_at = timestamp(this.#deps.clock.now());
    return numbered(before, { ...before, ...settings, ...origins, ...resolved, image, environment, updated_at });
  }

  /** Prepares a function that was added to the database: its next call should be a warm one. */
  created(id: string): Function {
    const stored = this.get(id);
    this.#deps.runner.update(stored, []);
    return stored;
  }

  /** Passes on a change of a function in the database: calls that begin now see it. */
  changed(before: Function, after: Function): void {
    this.#deps.runner.update(after, this.#named(after));
    if (after.name !== before.name) this.#deps.onForget(before);
  }

  /** Passes on that a function was deleted from the database. */
  deleted(fn: Function): void {
    this.#deps.runner.remove(fn.id);
    this.#deps.retention.soon();
    this.#deps.onForget(fn);
  }

  /**
   * Changes the fields that the body has; a changed image is resolved as at registration, and chooses the contract if nobody has,
   * but its other labels are ignored.
   */
  async update(idOrName: string, body: UpdateFunction, watcher?: PullWatcher): Promise<ChangedFunction> {
    const before = this.get(idOrName);
    const after = await this.#deps.retention.holding(() => this.#update(before, body, watcher));
    return this.#probe.tryOut(before, after, body);
  }

  async #update(before: Function, body: UpdateFunction, watcher?: PullWatcher): Promise<ChangedFunction> {
    const { environment, name, image, probe: _probe, ...settings } = body;
    const given = fullSettings(settings);
    this.#check(body, before.id);
    const followers = this.#deps.followers.resolve(body);
    const variables = environment === undefined ? before.environment : (environment ?? {});
    const likely = { ...(image !== undefined && likelyContract(before, given)), ...given };
    const after = { ...before, ...settingsAfterChange(before, likely), environment: variables };
    checkSettings(after);
    this.#deps.followers.check({ ...after, ...followers }, followers);
    if (touchesSecrets(body)) this.#deps.secrets.check(after);
    const cells = cellsToCheck(before, after);
    await this.#deps.runner.check({ ...given, ...cells }, image === undefined ? before.image_id : null);
    if (image === undefined && (given.entrypoint !== undefined || given.command !== undefined)) {
      await this.#deps.runner.images.checkCommand(after);
    }
    const resolved = image === undefined ? undefined : await this.#deps.runner.images.resolve(image, after, watcher);
    if (resolved !== undefined) await this.#deps.runner.check(cells, resolved.image_id);
    const change = { given, environment: variables, image: image ?? before.image, resolved };
    const consequences = await this.preparation.afterChange(before, change);
    const changed = await this.change(before.id, {
      ...given,
      ...consequences.changes,
      ...(name !== undefined && { name }),
      ...(image !== undefined && { image }),
      ...followers,
      ...resolved,
      ...(environment !== undefined && { environment: variables }),
    });
    return withWarning(changed, consequences);
  }

  /** Returns a function that was just written, by a manifest say, with the reason why it does not run if it does not. */
  tryOut(before: Function | undefined, after: Function): Promise<ChangedFunction> {
    return this.#probe.tryOut(before, after, {});
  }

  /** Pulls the image again and moves the function to the image that its reference means now. */
  pull(idOrName: string, watcher?: PullWatcher): Promise<Function> {
    return this.#deps.retention.holding(async () => {
      const fn = this.get(idOrName);
      const resolved = await this.#deps.runner.images.refresh(fn.image, fn, watcher);
      const signals = fn.contract === "http" ? await this.#deps.runner.images.signals(resolved.image_id) : undefined;
      return this.change(fn.id, { ...resolved, ...(await portsAfterPull(fn, signals)) });
    });
  }

  /** Deletes a function and returns it; one with routes, or that follows others, only with `cascade`. */
  async delete(idOrName: string, options: { readonly cascade: boolean }): Promise<Function> {
    const deleted = await this.#deps.store.functions.delete(this.get(idOrName).id, options);
    if (deleted === undefined) throw notFound("function", idOrName);
    this.deleted(deleted);
    return deleted;
  }

  /** Gives a function from an older database, which has no image id, the image that its reference means. */
  async withImage(fn: Function): Promise<Function> {
    if (fn.image_id !== null) return fn;
    return this.#deps.retention.holding(async () => {
      const resolved = await this.#deps.runner.images.resolve(fn.image, fn);
      if (this.#deps.store.functions.get(fn.id)?.version === fn.version) return this.change(fn.id, resolved);
      await this.#deps.store.versions.complete({ ...fn, ...resolved });
      return { ...fn, ...resolved };
    });
  }

  /** Gives functions and their versions the id by which the platform now knows their image. That makes no new version. */
  async imageRenamed(renamed: RenamedImage): Promise<void> {
    for (const fn of await this.#deps.store.functions.renameImage(renamed)) {
      this.#deps.runner.update(fn, this.#named(fn));
    }
  }

  /** Returns the versions that routes name, as calls run them. */
  #named(fn: Function): Function[] {
    return this.#deps.store.versions
      .named(fn.id)
      .map((version) => this.at(fn, version))
      .filter((found) => found !== undefined);
  }

  #check(body: UpdateFunction, self: string | null): void {
    if (body.environment) checkEnvironment(body.environment);
    if (typeof body.name !== "string") return;
    checkFunctionName(body.name);
    // Checked before the image is pulled, so that nobody waits minutes for this answer; the store has the last word.
    const holder = this.#deps.store.functions.find(body.name);
    if (holder !== undefined && holder.id !== self) {
      throw new AppError(
        "conflict",
        `A function named "${body.name}" exists already: choose another name, or PATCH that one`,
      );
    }
  }

  /**
   * Changes the function as it is now, not as it was before a pull that may have taken minutes; a change that makes a new
   * version gets its number. For services that have checked with the engine what they change.
   */
  async change(id: string, changes: Partial<Function>): Promise<Function> {
    const { store, secrets, followers, clock } = this.#deps;
    const { before, after } = await retryStale(async () => {
      const before = store.functions.latest(id);
      if (before === undefined) throw notFound("function", id);
      const settings = settingsAfterChange(before, changes);
      const updated_at = timestamp(clock.now());
      const after = numbered(before, { ...before, ...changes, ...settings, updated_at });
      const basis = touchesSecrets(changes) || touchesFollowers(changes) ? this.#basisOf(after) : undefined;
      checkSettings(after);
      // Only then: a secret that was deleted must not keep the function from being changed in other ways.
      if (touchesSecrets(changes)) secrets.check(after);
      followers.check(after, changes);
      await store.functions.replace(before, after, basis);
      return { before, after };
    });
    this.changed(before, after);
    return after;
  }

  /** Returns the basis of a write that depends on other records: on the function's secrets, or on its followers. */
  #basisOf({ secrets, on_success, on_failure }: Function): Basis | undefined {
    if (secrets.length === 0 && on_success === null && on_failure === null) return undefined;
    return { revision: this.#deps.store.revision };
  }
}

/** Returns the contract that a function probably has after a change of its image, to find mistakes before the image is pulled. */
function likelyContract(before: Function, given: Partial<Settings>): Partial<Settings> {
  const contract = before.contract_reason === "setting" ? undefined : contractOf(given);
  return contract === undefined ? {} : { contract };
}

function withWarning(fn: Function, { warning }: { readonly warning?: string }): ChangedFunction {
  return warning === undefined ? fn : { ...fn, warnings: [warning] };
}

const NO_POOL: PoolState = { ready: 0, starting: 0, busy: 0, target: 0 };

function touchesSecrets(changes: UpdateFunction | Partial<Function>): boolean {
  return changes.secrets !== undefined || changes.environment !== undefined;
}

function leadsSomewhere(body: CreateFunction): boolean {
  return touchesFollowers(body) || typeof body.callback_url === "string";
}

function touchesFollowers(changes: Partial<Pick<Function, (typeof FOLLOWERS)[number]>>): boolean {
  return FOLLOWERS.some((setting) => typeof changes[setting] === "string");
}
