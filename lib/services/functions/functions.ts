import type { Clock } from "../../clock.ts";
import { checkEnvironment } from "../../domain/environment.ts";
import { AppError } from "../../domain/errors.ts";
import { checkSettings, settingsAfterChange } from "../../domain/functions/rules.ts";
import {
  type CreateFunction,
  type Function,
  type FunctionWithPool,
  FUNCTION_DEFAULTS,
  checkFunctionName,
  type UpdateFunction,
  type VersionPool,
} from "../../domain/functions/functions.ts";
import { FUNCTIONS } from "../../domain/limits.ts";
import type { FunctionTarget } from "../../domain/manifest/plan.ts";
import type { PullWatcher } from "../../domain/images/pull-progress.ts";
import { timestamp } from "../../domain/types.ts";
import { numbered } from "../../domain/functions/versions.ts";
import type { Runner } from "../../runner/runner.ts";
import type { FunctionStore } from "../../store/sqlite/tables/functions.ts";
import type { FollowerCheck } from "./follower-check.ts";
import type { VersionStore } from "../../store/sqlite/tables/versions.ts";
import { type EngineKnowledge, FunctionPreparation } from "./preparation.ts";
import type { ImageRetention } from "../images/retention.ts";
import type { SecretService } from "../secrets/secrets.ts";

/** As much of the runner as functions need. */
type FunctionRunner = EngineKnowledge & Pick<Runner, "poolsOf" | "name" | "warm" | "update" | "remove">;

/** What can be done with functions. */
export class FunctionService {
  /** For what is described as a whole. */
  readonly preparation: FunctionPreparation;
  readonly #store: FunctionStore;
  readonly #versions: VersionStore;
  readonly #retention: Pick<ImageRetention, "holding" | "soon">;
  readonly #secrets: SecretService;
  readonly #followers: FollowerCheck;
  readonly #runner: FunctionRunner;
  readonly #clock: Clock;
  /** Told of a function that is gone under the name or id that it had. */
  readonly #onForget: (fn: Function) => void;

  constructor(options: {
    store: FunctionStore;
    versions: VersionStore;
    retention: Pick<ImageRetention, "holding" | "soon">;
    secrets: SecretService;
    followers: FollowerCheck;
    runner: FunctionRunner;
    clock: Clock;
    onForget: (fn: Function) => void;
  }) {
    this.preparation = new FunctionPreparation(options);
    this.#store = options.store;
    this.#versions = options.versions;
    this.#retention = options.retention;
    this.#secrets = options.secrets;
    this.#followers = options.followers;
    this.#runner = options.runner;
    this.#clock = options.clock;
    this.#onForget = options.onForget;
  }

  list(): Function[] {
    return this.#store.list();
  }

  /** Finds a function by its id or name; throws `not_found`. */
  get(idOrName: string): Function {
    const found = this.#store.find(idOrName);
    if (found === undefined) throw unknown(idOrName);
    return found;
  }

  /** A function with its instances as they are now. */
  getWithPool(idOrName: string): FunctionWithPool {
    const found = this.get(idOrName);
    const pools = this.#runner.poolsOf(found.id);
    const { version: _version, ...pool } = pools.find(({ version }) => version === found.version) ?? NO_POOL;
    return { ...found, pool, version_pools: pools.filter(({ version }) => version !== found.version) };
  }

  /**
   * A version of a function as calls run it: its name is the function's, and so is how many calls of all versions may run
   * at once.
   */
  at(fn: Function, version: number): Function | undefined {
    if (version === fn.version) return fn;
    const { name, max_concurrency } = fn;
    const found = this.#versions.get(fn.id, version);
    return found && { ...found, name, max_concurrency };
  }

  /** The routes of a function have changed: those versions are kept ready that they name now. */
  routesChanged(id: string): void {
    const fn = this.#store.get(id);
    if (fn === undefined) return;
    this.#runner.name(fn, this.#named(fn));
    this.#retention.soon();
  }

  /** Makes the functions ready that are to be so without being called, and their versions. */
  warm(): void {
    const warm = (fn: Function | undefined) => fn !== undefined && fn.warm_min > 0 && this.#runner.warm(fn);
    for (const fn of this.list()) warm(fn);
    for (const { id, version } of this.#versions.allNamed()) {
      const fn = this.#store.get(id);
      if (fn !== undefined) warm(this.at(fn, version));
    }
  }

  /** The id that an id or a name means; an id of a function that is no more stands for itself. */
  idOf(idOrName: string): string {
    return this.#store.find(idOrName)?.id ?? idOrName;
  }

  /** Registers an image, which is pulled where the engine does not have it; its labels are defaults for the settings. */
  create(body: CreateFunction, watcher?: PullWatcher): Promise<Function> {
    return this.#retention.holding(() => this.#create(body, watcher));
  }

  async #create(body: CreateFunction, watcher?: PullWatcher): Promise<Function> {
    this.#check(body, null);
    this.preparation.check(body);
    const followers = this.#followers.resolve(body);
    if (this.#store.count() >= FUNCTIONS) {
      throw new AppError("conflict", `There are ${FUNCTIONS} functions already: delete some`);
    }
    const target = await this.preparation.prepare(body, { find: "resolve", watcher });
    const created: Function = { ...this.recordOf(body.name ?? null, target), ...followers };
    await this.#store.insert(created, () => {
      this.#secrets.check(created);
      this.#followers.check(created, created);
    });
    return this.created(created.id);
  }

  /** The record of a new function. */
  recordOf(name: string | null, { image, environment, settings, resolved }: FunctionTarget): Function {
    const now = timestamp(this.#clock.now());
    const { image_id = null, digest = null } = resolved ?? {};
    return {
      ...FUNCTION_DEFAULTS,
      ...settings,
      ...{ image_id, digest, image, environment, name },
      id: this.#clock.uuid(),
      created_at: now,
      updated_at: now,
    };
  }

  /** The record of a function that is to be another in all but its name, with its next version. */
  replacementOf(before: Function, { image, environment, settings, resolved }: FunctionTarget): Function {
    const updated_at = timestamp(this.#clock.now());
    return numbered(before, { ...before, ...settings, ...resolved, image, environment, updated_at });
  }

  /** A function is in the database: its next call is to be a warm one. */
  created(id: string): Function {
    const stored = this.get(id);
    this.#runner.update(stored, []);
    return stored;
  }

  /** A function is another in the database: calls that begin now see it so. */
  changed(before: Function, after: Function): void {
    this.#runner.update(after, this.#named(after));
    if (after.name !== before.name) this.#onForget(before);
  }

  /** A function is gone from the database. */
  deleted(fn: Function): void {
    this.#runner.remove(fn.id);
    this.#retention.soon();
    this.#onForget(fn);
  }

  /** Changes what the body names; a changed image is resolved as at registration, but for its labels. */
  update(idOrName: string, body: UpdateFunction, watcher?: PullWatcher): Promise<Function> {
    return this.#retention.holding(() => this.#update(idOrName, body, watcher));
  }

  async #update(idOrName: string, body: UpdateFunction, watcher?: PullWatcher): Promise<Function> {
    const before = this.get(idOrName);
    const { environment, ...changes } = body;
    const { name: _name, image, ...given } = changes;
    this.#check(body, before.id);
    const followers = this.#followers.resolve(body);
    const variables = environment === undefined ? before.environment : (environment ?? {});
    const after = { ...before, ...settingsAfterChange(before, given), environment: variables };
    checkSettings(after);
    this.#followers.check({ ...after, ...followers }, followers);
    if (touchesSecrets(body)) this.#secrets.check(after);
    await this.#runner.check(given);
    if (image === undefined && (given.entrypoint !== undefined || given.command !== undefined)) {
      await this.#runner.images.checkCommand(after);
    }
    const resolved = image === undefined ? {} : await this.#runner.images.resolve(image, after, watcher);
    return this.change(before.id, {
      ...changes,
      ...followers,
      ...resolved,
      ...(environment !== undefined && { environment: variables }),
    });
  }

  /** Pulls the image anew and moves the function to what its reference means now. */
  pull(idOrName: string, watcher?: PullWatcher): Promise<Function> {
    return this.#retention.holding(async () => {
      const fn = this.get(idOrName);
      return this.change(fn.id, await this.#runner.images.refresh(fn.image, fn, watcher));
    });
  }

  /** Deletes a function and tells what it was; with routes, and being a follower of others, only where `cascade` says so. */
  async delete(idOrName: string, options: { readonly cascade: boolean }): Promise<Function> {
    const deleted = await this.#store.delete(this.get(idOrName).id, options);
    if (deleted === undefined) throw unknown(idOrName);
    this.deleted(deleted);
    return deleted;
  }

  /** Gives a function from an older database, which knows no image id, the image that its reference means. */
  async withImage(fn: Function): Promise<Function> {
    if (fn.image_id !== null) return fn;
    return this.#retention.holding(async () => {
      const resolved = await this.#runner.images.resolve(fn.image, fn);
      if (this.#store.get(fn.id)?.version === fn.version) return this.change(fn.id, resolved);
      await this.#versions.completeOld({ ...fn, ...resolved });
      return { ...fn, ...resolved };
    });
  }

  /** The versions that routes name, as calls run them. */
  #named(fn: Function): Function[] {
    return this.#versions
      .named(fn.id)
      .map((version) => this.at(fn, version))
      .filter((found) => found !== undefined);
  }

  #check(body: UpdateFunction, self: string | null): void {
    if (body.environment) checkEnvironment(body.environment);
    if (typeof body.name !== "string") return;
    checkFunctionName(body.name);
    // Asked before the image is pulled, so that nobody waits minutes for this answer; the store has the last word.
    const holder = this.#store.find(body.name);
    if (holder !== undefined && holder.id !== self) {
      throw new AppError(
        "conflict",
        `A function named "${body.name}" exists already: choose another name, or PATCH that one`,
      );
    }
  }

  /**
   * Changes the row as it is now, not as it was before a pull that may have taken minutes; what is another version gets
   * its number. For services that have checked with the engine what they change.
   */
  async change(id: string, changes: Partial<Function>): Promise<Function> {
    const changed = await this.#store.update(id, (current) => {
      const settings = settingsAfterChange(current, changes);
      const updated_at = timestamp(this.#clock.now());
      const after = numbered(current, { ...current, ...changes, ...settings, updated_at });
      checkSettings(after);
      // Only then: one that was deleted must not keep a function from being changed in other ways.
      if (touchesSecrets(changes)) this.#secrets.check(after);
      this.#followers.check(after, changes);
      return after;
    });
    if (changed === undefined) throw unknown(id);
    this.changed(changed.before, changed.after);
    return changed.after;
  }
}

const NO_POOL: VersionPool = { version: 0, ready: 0, starting: 0, busy: 0, target: 0 };

function touchesSecrets(changes: UpdateFunction | Partial<Function>): boolean {
  return changes.secrets !== undefined || changes.environment !== undefined;
}

function unknown(idOrName: string): AppError {
  return new AppError(
    "not_found",
    `No function ${JSON.stringify(idOrName.slice(0, 100))}: GET /v1/functions lists them`,
  );
}
