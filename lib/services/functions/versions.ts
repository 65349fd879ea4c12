import { AppError, messageOf } from "../../domain/errors.ts";
import { cellsToCheck, checkSettings } from "../../domain/functions/rules.ts";
import type { Function } from "../../domain/functions/functions.ts";
import {
  type FunctionVersion,
  shownVersion,
  versionedFields,
  type VersionPage,
  type VersionQuery,
} from "../../domain/functions/versions.ts";
import type { PlatformImages } from "../../runner/platform.ts";
import type { Runner } from "../../runner/runner.ts";
import type { VersionStore } from "../../store/configuration.ts";
import type { FunctionService } from "./functions.ts";
import type { ImageRetention } from "../images/retention.ts";
import type { SecretService } from "../secrets/secrets.ts";

interface VersionDeps {
  readonly store: Pick<VersionStore, "find" | "list">;
  readonly functions: FunctionService;
  readonly secrets: SecretService;
  readonly retention: Pick<ImageRetention, "holding">;
  readonly runner: Pick<Runner, "check"> & { readonly images: Pick<PlatformImages, "resolve" | "restore"> };
}

/** Shows the versions of functions, and goes back to them. */
export class VersionService {
  readonly #deps: VersionDeps;

  constructor(deps: VersionDeps) {
    this.#deps = deps;
  }

  /** Lists the versions of a function, newest first; throws `not_found`. */
  async list(idOrName: string, { below, limit }: VersionQuery): Promise<VersionPage> {
    const fn = this.#deps.functions.get(idOrName);
    const found = await this.#deps.store.list(fn.id, { below, limit: limit + 1 });
    const versions = found.slice(0, limit).map((record) => shownVersion(record, fn.version));
    const last = versions.at(-1);
    return { versions, next_cursor: found.length > limit && last !== undefined ? String(last.version) : null };
  }

  /** Returns a version of a function; throws `not_found`. */
  async get(idOrName: string, version: string): Promise<FunctionVersion> {
    const fn = this.#deps.functions.get(idOrName);
    const found = /^[1-9]\d{0,14}$/.test(version) ? await this.#deps.store.find(fn.id, Number(version)) : undefined;
    if (found === undefined) throw new AppError("not_found", noVersion(fn, version));
    return shownVersion(found, fn.version);
  }

  /**
   * Gives a function the image, the environment and the settings that it had in a version, as a new version: its history
   * only grows. An image that was removed from the engine is pulled again by its digest. Going back to the present state
   * changes nothing.
   */
  rollback(idOrName: string, version: number): Promise<Function> {
    return this.#deps.retention.holding(async () => {
      const fn = this.#deps.functions.get(idOrName);
      const target = await this.#deps.store.find(fn.id, version);
      if (target === undefined) throw new AppError("invalid_request", noVersion(fn, String(version)));
      checkSettings(target);
      this.#deps.secrets.check(target);
      this.#deps.functions.checkReach(fn, target);
      await this.#deps.runner.check(target);
      const image = await this.#image(target);
      await this.#deps.runner.check(cellsToCheck(undefined, target), image.image_id);
      return this.#deps.functions.change(fn.id, { ...versionedFields(target), ...image });
    });
  }

  /** Returns the image of a version, on the engine. Throws `image_unavailable` if it cannot be pulled again. */
  async #image(target: Function): Promise<Pick<Function, "image_id" | "digest">> {
    const { image, image_id, digest, version } = target;
    if (image_id === null) return this.#deps.runner.images.resolve(image, target);
    try {
      return { image_id: await this.#deps.runner.images.restore(target), digest };
    } catch (error) {
      if (!(error instanceof AppError) || error.reason !== "image_unavailable") throw error;
      throw new AppError("image_unavailable", `Cannot roll back to version ${version}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

/** Returns the message for a version that a function does not have. */
export function noVersion({ id, name, version }: Function, asked: string): string {
  return (
    `Function "${name ?? id}" has no version ${asked.slice(0, 20)}: the latest is ${version}, ` +
    `GET /v1/functions/${name ?? id}/versions lists those that are kept`
  );
}
