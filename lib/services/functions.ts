import type { Clock } from "../clock.ts";
import { checkEnvironment } from "../domain/environment.ts";
import { AppError } from "../domain/errors.ts";
import {
  checkWarm,
  type CreateFunction,
  type Function,
  type FunctionWithPool,
  FUNCTION_DEFAULTS,
  checkFunctionName,
  type UpdateFunction,
} from "../domain/functions.ts";
import { FUNCTIONS } from "../domain/limits.ts";
import { timestamp } from "../domain/types.ts";
import type { Runner } from "../runner/runner.ts";
import type { FunctionStore } from "../store/functions.ts";

/** What can be done with functions. */
export class FunctionService {
  readonly #store: FunctionStore;
  readonly #runner: Runner;
  readonly #clock: Clock;
  /** Told of a function that is gone under the name or id that it had. */
  readonly #onForget: (fn: Function) => void;

  constructor(options: { store: FunctionStore; runner: Runner; clock: Clock; onForget: (fn: Function) => void }) {
    this.#store = options.store;
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
    return { ...found, pool: this.#runner.poolOf(found.id) };
  }

  /** Makes the functions ready that are to be so without being called. */
  warm(): void {
    for (const fn of this.list()) if (fn.warm_min > 0) this.#runner.update(fn);
  }

  /** The id that an id or a name means; an id of a function that is no more stands for itself. */
  idOf(idOrName: string): string {
    return this.#store.find(idOrName)?.id ?? idOrName;
  }

  /** Registers an image, which is pulled where the engine does not have it. */
  async create(body: CreateFunction): Promise<Function> {
    const { environment, ...settings } = body;
    this.#check(body, null);
    if (this.#store.count() >= FUNCTIONS) {
      throw new AppError("conflict", `There are ${FUNCTIONS} functions already: delete some`);
    }
    checkWarm({ ...FUNCTION_DEFAULTS, ...settings });
    const image = await this.#runner.images.resolve(body.image);
    const now = timestamp(this.#clock.now());
    const created: Function = {
      ...FUNCTION_DEFAULTS,
      ...settings,
      ...image,
      id: this.#clock.uuid(),
      environment: environment ?? {},
      created_at: now,
      updated_at: now,
    };
    await this.#store.insert(created);
    const stored = this.get(created.id);
    this.#runner.update(stored);
    return stored;
  }

  /** Changes what the body names; a changed image is resolved as at registration. */
  async update(idOrName: string, body: UpdateFunction): Promise<Function> {
    const { id } = this.get(idOrName);
    this.#check(body, id);
    const image = body.image === undefined ? {} : await this.#runner.images.resolve(body.image);
    const { environment, ...settings } = body;
    return this.#change(id, {
      ...settings,
      ...image,
      ...(environment !== undefined && { environment: environment ?? {} }),
    });
  }

  /** Pulls the image anew and moves the function to what its reference means now. */
  async pull(idOrName: string): Promise<Function> {
    const { id, image } = this.get(idOrName);
    return this.#change(id, await this.#runner.images.refresh(image));
  }

  /** Deletes a function and tells what it was; with routes only where `cascade` says so. */
  async delete(idOrName: string, options: { readonly cascade: boolean }): Promise<Function> {
    const deleted = await this.#store.delete(this.get(idOrName).id, options);
    if (deleted === undefined) throw unknown(idOrName);
    this.#runner.remove(deleted.id);
    this.#onForget(deleted);
    return deleted;
  }

  /** Gives a function from an older database, which knows no image id, the image that its reference means. */
  async withImage(fn: Function): Promise<Function> {
    if (fn.image_id !== null) return fn;
    return this.#change(fn.id, await this.#runner.images.resolve(fn.image));
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

  /** Changes the row as it is now, not as it was before a pull that may have taken minutes. */
  async #change(id: string, changes: Partial<Function>): Promise<Function> {
    const changed = await this.#store.update(id, (current) => {
      const after: Function = { ...current, ...changes, updated_at: timestamp(this.#clock.now()) };
      checkWarm(after);
      return after;
    });
    if (changed === undefined) throw unknown(id);
    const { before, after } = changed;
    this.#runner.update(after);
    if (after.name !== before.name) this.#onForget(before);
    return after;
  }
}

function unknown(idOrName: string): AppError {
  return new AppError(
    "not_found",
    `No function ${JSON.stringify(idOrName.slice(0, 100))}: GET /v1/functions lists them`,
  );
}
