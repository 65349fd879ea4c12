import { AppError, messageOf } from "../../domain/errors.ts";
import { checkSettings } from "../../domain/functions/rules.ts";
import type { Function } from "../../domain/functions/functions.ts";
import {
  type FunctionVersion,
  shownVersion,
  versionedFields,
  type VersionPage,
  type VersionQuery,
} from "../../domain/functions/versions.ts";
import type { Runner } from "../../runner/runner.ts";
import type { VersionStore } from "../../store/sqlite/tables/versions.ts";
import type { FunctionService } from "./functions.ts";
import type { ImageRetention } from "../images/retention.ts";
import type { SecretService } from "../secrets/secrets.ts";

/** What can be done with the versions of functions. */
export class VersionService {
  readonly #store: VersionStore;
  readonly #functions: FunctionService;
  readonly #secrets: SecretService;
  readonly #retention: ImageRetention;
  readonly #runner: Runner;

  constructor(options: {
    store: VersionStore;
    functions: FunctionService;
    secrets: SecretService;
    retention: ImageRetention;
    runner: Runner;
  }) {
    this.#store = options.store;
    this.#functions = options.functions;
    this.#secrets = options.secrets;
    this.#retention = options.retention;
    this.#runner = options.runner;
  }

  /** The versions of a function, newest first; throws `not_found`. */
  list(idOrName: string, { below, limit }: VersionQuery): VersionPage {
    const fn = this.#functions.get(idOrName);
    const found = this.#store.list(fn.id, { below, limit: limit + 1 });
    const versions = found.slice(0, limit).map((record) => shownVersion(record, fn.version));
    const last = versions.at(-1);
    return { versions, next_cursor: found.length > limit && last !== undefined ? String(last.version) : null };
  }

  /** A version of a function; throws `not_found`. */
  get(idOrName: string, version: string): FunctionVersion {
    const fn = this.#functions.get(idOrName);
    const found = /^[1-9]\d{0,14}$/.test(version) ? this.#store.get(fn.id, Number(version)) : undefined;
    if (found === undefined) throw new AppError("not_found", noVersion(fn, version));
    return shownVersion(found, fn.version);
  }

  /**
   * Gives a function the image, the environment and the settings that it had in a version, as a new version: its history
   * only grows. An image that was removed from the engine is pulled again by its digest. To go back to what is there
   * already changes nothing.
   */
  rollback(idOrName: string, version: number): Promise<Function> {
    return this.#retention.holding(async () => {
      const fn = this.#functions.get(idOrName);
      const target = this.#store.get(fn.id, version);
      if (target === undefined) throw new AppError("invalid_request", noVersion(fn, String(version)));
      checkSettings(target);
      this.#secrets.check(target);
      await this.#runner.check(target);
      return this.#functions.change(fn.id, { ...versionedFields(target), ...(await this.#image(target)) });
    });
  }

  /** The image of a version, on the engine. Throws `image_unavailable` where it cannot be had again. */
  async #image(target: Function): Promise<Pick<Function, "image_id" | "digest">> {
    const { image, image_id, digest, version } = target;
    if (image_id === null) return this.#runner.images.resolve(image, target);
    try {
      await this.#runner.images.restore(target);
    } catch (error) {
      if (!(error instanceof AppError) || error.reason !== "image_unavailable") throw error;
      throw new AppError("image_unavailable", `Cannot roll back to version ${version}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    return { image_id, digest };
  }
}

/** What is to be said where a function has no such version. */
export function noVersion({ id, name, version }: Function, asked: string): string {
  return (
    `Function "${name ?? id}" has no version ${asked.slice(0, 20)}: the latest is ${version}, ` +
    `GET /v1/functions/${name ?? id}/versions lists those that are kept`
  );
}
