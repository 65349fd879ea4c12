import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Settings } from "../../domain/functions/settings.ts";
import {
  type AppliedManifest,
  type ApplyOptions,
  byManifestName,
  checkManifestName,
  type Manifest,
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
import { checkRouteOptions, fullOptions, ROUTE_DEFAULTS } from "../../domain/routes/options.ts";
import { checkRoutePath, type Route } from "../../domain/routes/routes.ts";
import type { Store } from "../../store/sqlite/store.ts";
import { changesSecrets } from "./preparation.ts";
import type { FollowerCheck } from "./follower-check.ts";
import type { FunctionService } from "./functions.ts";
import type { ImageRetention } from "../images/retention.ts";
import type { RouteService } from "./routes.ts";
import type { SecretService } from "../secrets/secrets.ts";

/** Functions whose images are asked for, and pulled, at the same time. */
const AT_ONCE = 4;

/** What was written: each record as it was, and as it is. */
interface Written {
  readonly plan: Plan;
  readonly functions: readonly Change<Function>[];
  readonly routes: readonly Change<Route>[];
}

interface Change<T> {
  readonly before?: T;
  readonly after?: T;
}

/** Undoes the transaction of a dry run. */
class Rehearsed extends Error {
  readonly written: Written;

  constructor(written: Written) {
    super("a dry run was undone");
    this.written = written;
  }
}

/** What can be done with manifests. */
export class ManifestService {
  readonly #store: Pick<Store, "functions" | "routes" | "together">;
  readonly #functions: FunctionService;
  readonly #routes: RouteService;
  readonly #secrets: SecretService;
  readonly #followers: Pick<FollowerCheck, "check" | "checkCallbackUrl">;
  readonly #retention: Pick<ImageRetention, "holding">;

  constructor(options: {
    store: Pick<Store, "functions" | "routes" | "together">;
    functions: FunctionService;
    routes: RouteService;
    secrets: SecretService;
    followers: Pick<FollowerCheck, "check" | "checkCallbackUrl">;
    retention: Pick<ImageRetention, "holding">;
  }) {
    this.#store = options.store;
    this.#functions = options.functions;
    this.#routes = options.routes;
    this.#secrets = options.secrets;
    this.#followers = options.followers;
    this.#retention = options.retention;
  }

  /** The manifest of what there is: applied here, it changes nothing. Works without the engine, too. */
  async export(): Promise<Manifest> {
    const [functions, routes] = [this.#functions.list(), this.#routes.list()];
    const labels = await this.#labelsOf(functions);
    const secrets = this.#secrets.list().map(({ name }) => name);
    return manifestOf({ functions, routes, secrets, labelsOf: ({ id }) => labels.get(id) });
  }

  /**
   * Makes the functions and routes what a manifest says, all of them or none. Everything is checked and every image found
   * before anything is changed; a dry run does the same but for pulls, and is undone.
   */
  apply(manifest: Manifest, options: ApplyOptions): Promise<AppliedManifest> {
    return this.#retention.holding(async () => {
      const wanted = await this.#prepared(manifest, options);
      const { plan, functions, routes } = await this.#write(wanted, options);
      if (!options.dry_run) this.#tell(functions, routes);
      return { changes: changesOf(plan), dry_run: options.dry_run };
    });
  }

  async #prepared(manifest: Manifest, { dry_run, prune, pull }: ApplyOptions): Promise<Wanted> {
    const { functions = {}, routes = {}, secrets = [] } = manifest;
    this.#checkSecrets(secrets);
    const bodies = new Map(Object.entries(functions));
    const present = { functions: this.#functions.list(), routes: [] };
    const known = byManifestName(present.functions);
    for (const [name, body] of bodies) {
      checkManifestName(name);
      about("Function", name, () => {
        this.#functions.preparation.check(body, known.get(name));
        if (typeof body.callback_url === "string") this.#followers.checkCallbackUrl(body.callback_url);
      });
    }
    const targets = new Map(
      Object.entries(routes).map(([path, { function: fn, ...given }]): [string, RouteTarget] => {
        const options = { ...ROUTE_DEFAULTS, ...fullOptions(given) };
        checkRoutePath(path);
        about("Route", path, () => checkRouteOptions(options));
        return [path, { function: fn, options }];
      }),
    );
    checkTargets(present, { functions: bodies, routes: targets }, { prune });
    checkFollowers(present, bodies, { prune });
    const find = dry_run ? "look" : pull ? "refresh" : "resolve";
    const prepared = await each([...bodies], async ([name, body]) => {
      const preparing = this.#functions.preparation.prepare(body, { before: known.get(name), find });
      return [name, await preparing.catch((error: unknown) => rethrow("Function", name, error))] as const;
    });
    return { functions: new Map(prepared), routes: targets };
  }

  async #write(wanted: Wanted, { dry_run, prune }: ApplyOptions): Promise<Written> {
    try {
      return await this.#store.together(() => {
        // As it is now: finding images may have taken minutes.
        const present = { functions: this.#functions.list(), routes: this.#routes.list() };
        const plan = planOf(present, wanted, { prune });
        if (!dry_run) checkImages(plan);
        const byName = byManifestName(present.functions);
        const functions = this.#writeFunctions(plan, byName);
        const routes = this.#writeRoutes(plan, byName);
        const deleted = plan.deletedFunctions.flatMap((step) => (step.action === "deleted" ? [step.before] : []));
        for (const { id } of deleted) this.#store.functions.deleteNow(id);
        const written = { plan, functions: [...functions, ...deleted.map((before) => ({ before }))], routes };
        if (dry_run) throw new Rehearsed(written);
        return written;
      });
    } catch (error) {
      if (error instanceof Rehearsed) return error.written;
      throw error;
    }
  }

  /** Part of the transaction: `byName` gets what they are now. */
  #writeFunctions({ functions }: Plan, byName: Map<string, Function>): Change<Function>[] {
    const changes = functions.flatMap((step) => {
      if (step.action === "unchanged" || step.action === "deleted") return [];
      const { name, target } = step;
      const before = step.action === "updated" ? step.before : undefined;
      const after =
        before === undefined ? this.#functions.recordOf(name, target) : this.#functions.replacementOf(before, target);
      byName.set(name, after);
      return [{ name, before, after }];
    });
    // All of them have their ids now, so that each can hand its results to any other.
    const linked = changes.map((change) => ({ ...change, after: withIds(change.after, byName) }));
    for (const { name, before, after } of linked) {
      byName.set(name, after);
      about("Function", name, () => this.#writeFunction(before, after));
    }
    for (const { name, after } of linked) about("Function", name, () => this.#followers.check(after, after));
    return linked.map(({ before, after }) => (before === undefined ? { after } : { before, after }));
  }

  #writeFunction(before: Function | undefined, after: Function): void {
    if (before === undefined || changesSecrets(before, after)) this.#secrets.check(after);
    if (before === undefined) this.#store.functions.insertNow(after);
    else this.#store.functions.replaceNow(before, after);
  }

  #writeRoutes({ routes }: Plan, byName: ReadonlyMap<string, Function>): Change<Route>[] {
    return routes.flatMap((step): Change<Route>[] => {
      if (step.action === "unchanged") return [];
      if (step.action === "deleted") {
        this.#store.routes.deleteNow(step.before.id);
        return [{ before: step.before }];
      }
      const { name, target } = step;
      const fn = byName.get(target.function);
      if (fn === undefined) throw new Error(`The plan has a route to "${target.function}", which is nowhere`);
      return about("Route", name, () => {
        if (step.action === "created") {
          const after = this.#routes.recordOf(name, fn, target.options);
          this.#store.routes.insertNow(after);
          return [{ after }];
        }
        const after = this.#routes.replacementOf(step.before, fn, target.options);
        this.#store.routes.replaceNow(after);
        return [{ before: step.before, after }];
      });
    });
  }

  /** Tells whoever keeps instances of what is in the database now. */
  #tell(functions: readonly Change<Function>[], routes: readonly Change<Route>[]): void {
    for (const { before, after } of functions) {
      if (after === undefined) {
        if (before !== undefined) this.#functions.deleted(before);
        continue;
      }
      // Another change may have come while this one went to the disk, and have been told of before.
      const now = this.#store.functions.get(after.id);
      if (now === undefined) continue;
      if (before === undefined) this.#functions.created(now.id);
      else this.#functions.changed(before, now);
    }
    for (const { before, after } of routes) this.#routes.changed(before, after);
  }

  #checkSecrets(names: readonly string[]): void {
    const known = new Set(this.#secrets.list().map(({ name }) => name));
    const missing = names.filter((name) => !known.has(name)).map((name) => JSON.stringify(name));
    if (missing.length === 0) return;
    throw new AppError(
      "invalid_request",
      `The manifest names secrets that are not there: ${missing.slice(0, 50).join(", ")}. PUT /v1/secrets/<name> first`,
    );
  }

  /** By the functions' ids; without those of which the engine does not tell. */
  async #labelsOf(functions: readonly Function[]): Promise<Map<string, Partial<Settings>>> {
    const found = new Map<string, Partial<Settings>>();
    let away = false;
    await each(functions, async (fn) => {
      try {
        const labels = away ? undefined : await this.#functions.preparation.labelsOf(fn);
        if (labels !== undefined) found.set(fn.id, labels);
      } catch (error) {
        if (!(error instanceof AppError) || error.reason !== "engine_unavailable") throw error;
        // It would keep each of them waiting.
        away = true;
      }
    });
    return found;
  }
}

/** A function with its followers by their ids; a manifest has their names. */
function withIds(fn: Function, byName: ReadonlyMap<string, Function>): Function {
  const idOf = (name: string | null) => (name === null ? null : (byName.get(name)?.id ?? name));
  return { ...fn, on_success: idOf(fn.on_success), on_failure: idOf(fn.on_failure) };
}

/** Functions and routes may have been changed by others while images were looked for. */
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
  const results: PromiseSettledResult<R>[] = [];
  const waiting = items.entries();
  const run = async () => {
    // All runs take from the same items.
    for (const [index, item] of waiting) [results[index]] = await Promise.allSettled([work(item)]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, run));
  return results.map((result) => {
    if (result.status === "fulfilled") return result.value;
    throw result.reason;
  });
}

function about<T>(kind: "Function" | "Route", name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    return rethrow(kind, name, error);
  }
}

/** The same error, with what it is about. */
function rethrow(kind: "Function" | "Route", name: string, error: unknown): never {
  if (!(error instanceof AppError)) throw error;
  const { reason, message, retry_after_s } = error;
  throw new AppError(reason, `${kind} ${JSON.stringify(name.slice(0, 100))}: ${message}`, {
    cause: error,
    ...(retry_after_s !== undefined && { retry_after_s }),
  });
}
