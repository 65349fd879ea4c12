import { AppError, messageOf } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { BUILT_DOMAIN, parseImageReference } from "../../domain/images/reference.ts";
import type { ImageSignals } from "../../domain/functions/detection.ts";
import type { PullWatcher } from "../../domain/images/pull-progress.ts";
import type { RenamedImage } from "../../domain/images/pulled-images.ts";
import { registryOf, type RegistryCredentials } from "../../domain/images/registries.ts";
import type { PullOptions } from "../api/image-pull.ts";
import { type Image, type ImageConfig, type Images, commandOf } from "../api/images.ts";
import type { Clock } from "../../clock.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import type {
  CurrentCredentials,
  KnownFunction,
  OwnCommand,
  PlatformImages,
  ResolvedImage,
} from "../../runner/platform.ts";
import { ImageOrigins } from "./image-origins.ts";
import { MovedImages } from "./moved-images.ts";
import type { OwnImages } from "./own-images.ts";
import type { SharedImages } from "./shared-images.ts";
import { SharedPull } from "./shared-pull.ts";
import { EngineError } from "../api/connection.ts";
import { volumeProblem } from "./volumes.ts";

/** The most images whose configuration is remembered. */
const CONFIGS = 1_000;

interface ImageResolverDeps {
  readonly images: Images;
  /** Runs each pull, and reports what it has done. */
  readonly own: Pick<OwnImages, "during">;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  /** Returns a registry's credentials; called at each pull. */
  readonly credentialsFor: (host: string) => CurrentCredentials | undefined;
  /** Returns the names that pulls of this server gave an image, in full. */
  readonly pulledNames: (imageId: string) => readonly string[];
  /** Called when the engine has an image under another id than before. Not if servers share functions. */
  readonly onRenamed: (renamed: RenamedImage) => Promise<void>;
  /** Null if this server has its functions for itself. */
  readonly shared: SharedImages | null;
}

/** An image that is present, by its id on the engine and the one by which functions have it. */
interface PresentImage {
  readonly own_id: string;
  readonly image_id: string;
}

/**
 * Turns image references into images on the engine. Images are looked up first and pulled if they are missing: one that
 * exists only locally cannot be pulled. All callers that want the same image at once wait for one pull, and none of
 * them can cancel it for the others.
 */
export class ImageResolver implements PlatformImages {
  readonly #deps: ImageResolverDeps;
  readonly #origins: ImageOrigins;
  readonly #moved: MovedImages;
  readonly #pulls = new Map<string, SharedPull>();
  readonly #configs = new Map<string, ImageConfig>();

  constructor(deps: ImageResolverDeps) {
    this.#deps = deps;
    this.#origins = new ImageOrigins(deps);
    this.#moved = new MovedImages(deps);
  }

  async resolve(reference: string, own: KnownFunction, watcher?: PullWatcher): Promise<ResolvedImage> {
    parseImageReference(reference); // before the engine is asked: its own message is shorter
    const present = await this.#inspect(reference);
    return this.#resolved(reference, present ?? (await this.#pullAndInspect(reference, watcher)), own);
  }

  async look(reference: string, own: KnownFunction): Promise<ResolvedImage | undefined> {
    parseImageReference(reference);
    const present = await this.#inspect(reference);
    return present && this.#resolved(reference, present, own);
  }

  async refresh(reference: string, own: KnownFunction, watcher?: PullWatcher): Promise<ResolvedImage> {
    const present = await this.#inspect(reference);
    const local =
      present !== undefined && !(await this.#origins.isFromRegistry(reference, present, own.digest ?? null));
    return this.#resolved(reference, local ? present : await this.#pullAndInspect(reference, watcher), own);
  }

  signals(imageId: string): Promise<ImageSignals | undefined> {
    return this.config(imageId);
  }

  async checkCommand({ image, image_id, ...own }: Pick<Function, "image" | "image_id"> & OwnCommand): Promise<void> {
    const config = image_id === null ? undefined : await this.config(image_id);
    // An image that the engine has lost is restored by the next call, which then says so.
    if (config !== undefined) checkCommand(image, own, config);
  }

  checkReach({ image, digest }: Pick<Function, "image" | "digest">): void {
    const refused = digest === null ? this.#deps.shared?.localProblem(image) : undefined;
    if (refused !== undefined) throw new AppError("image_invalid", refused);
  }

  async restore(fn: Function): Promise<string> {
    return (await this.bring(fn)).image_id;
  }

  /** Does the same, and returns the image's id on the engine, too. */
  bring(fn: Function): Promise<PresentImage> {
    const bring = () => this.#bring(fn);
    return this.#deps.shared === null ? bring() : this.#deps.shared.holding(bring);
  }

  async #bring({ image, image_id, digest }: Function): Promise<PresentImage> {
    // It was never gone, or another call has restored it since the engine said so.
    const ownId = image_id && this.ownId(image_id);
    if (image_id !== null && ownId !== null && (await this.#inspect(ownId)) !== undefined) {
      return { own_id: ownId, image_id };
    }
    const found =
      digest === null
        ? image_id !== null && (await this.#findMoved(image, image_id))
        : ((await this.#inspect(digest)) ?? (await this.#pullAgain(image, digest)));
    if (image_id === null || !found) {
      throw new AppError("image_unavailable", this.#goneLocal(image));
    }
    const { id } = found;
    // A digest always means the same image, but each of the engine's image stores has ids of its own.
    if (id !== image_id) {
      this.#deps.log.info("the engine has an image under another id", {
        image,
        digest,
        before: image_id,
        image_id: id,
      });
      if (this.#deps.shared === null) await this.#deps.onRenamed({ digest, before: image_id, image_id: id });
      else await this.#deps.shared.note(image_id, id);
    }
    return { own_id: id, image_id: this.#deps.shared === null ? id : image_id };
  }

  /** Returns the id on the engine of an image of functions, as far as it is known. */
  ownId(imageId: string): string {
    return this.#deps.shared?.ownId(imageId) ?? imageId;
  }

  #goneLocal(image: string): string {
    if (this.#deps.shared === null)
      return `Image "${image}" is gone from the engine and came from no registry: build it again, then POST /v1/functions/<id>/pull`;
    return `Image "${image}" is not on this server's engine, and came from no registry: push it to one that all servers reach, and give the function its name there ("image")`;
  }

  /** Returns the image under a function's own name, if it is the one that the engine had under another id. */
  async #findMoved(image: string, before: string): Promise<Image | undefined> {
    const found = await this.#inspect(image);
    return found !== undefined && (await this.#moved.isSame(before, found)) ? found : undefined;
  }

  /** Returns an image's configuration for its containers, or nothing if the engine does not have it. */
  async config(imageId: string): Promise<ImageConfig | undefined> {
    const id = this.ownId(imageId);
    return this.#configs.get(id) ?? (await this.#inspect(id))?.config;
  }

  async #inspect(reference: string): Promise<Image | undefined> {
    try {
      const image = await this.#deps.images.inspect(reference);
      if (image !== undefined) this.#remember(image);
      return image;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new AppError(
        error.status === 400 ? "invalid_request" : "engine_unavailable",
        `Cannot look at image "${reference}": ${error.message}`,
        {
          cause: error,
        },
      );
    }
  }

  #remember(image: Image): void {
    const oldest = this.#configs.keys().next().value;
    if (this.#configs.size >= CONFIGS && oldest !== undefined) this.#configs.delete(oldest);
    this.#configs.set(image.id, image.config);
  }

  async #pullAgain(image: string, digest: string): Promise<Image> {
    try {
      return await this.#pullAndInspect(digest, undefined);
    } catch (error) {
      if (error instanceof AppError && error.reason === "engine_unavailable") throw error;
      throw new AppError(
        "image_unavailable",
        `Image "${image}" is gone from the engine and cannot be pulled again: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  async #pullAndInspect(reference: string, watcher: PullWatcher | undefined): Promise<Image> {
    await this.#pull(reference, watcher);
    const image = await this.#inspect(reference);
    if (image !== undefined) this.#origins.notePulled(reference, image);
    else {
      throw new AppError(
        "image_unavailable",
        `Image "${reference}" was pulled and is gone again: is something removing images from this engine?`,
      );
    }
    return image;
  }

  #pull(reference: string, watcher?: PullWatcher): Promise<void> {
    const { normalized, domain } = parseImageReference(reference);
    if (domain === BUILT_DOMAIN) throw builtAndGone(reference);
    const host = registryOf(reference);
    const credentials = host === undefined ? undefined : this.#deps.credentialsFor(host);
    // A pull that began with old credentials is of no use to a caller who has just changed them.
    const key = `${credentials?.revision ?? ""} ${normalized}`;
    const pull = this.#pulls.get(key) ?? this.#begin(key, reference, credentials);
    if (watcher !== undefined) pull.watch(watcher);
    return pull.done;
  }

  #begin(key: string, reference: string, credentials: RegistryCredentials | undefined): SharedPull {
    const pull = new SharedPull(this.#deps.clock, async (onProgress) => {
      try {
        await this.#pullOnce(reference, { credentials, onProgress });
      } finally {
        this.#pulls.delete(key);
      }
    });
    this.#pulls.set(key, pull);
    return pull;
  }

  async #pullOnce(reference: string, options: PullOptions): Promise<void> {
    this.#deps.log.info("pull started", { image: reference });
    try {
      await this.#deps.own.during(reference, () => this.#deps.images.pull(reference, options));
      this.#deps.metrics.pulls.inc({ result: "ok" });
      this.#deps.log.info("pull finished", { image: reference });
    } catch (error) {
      this.#deps.metrics.pulls.inc({ result: error instanceof AppError ? error.reason : "internal" });
      // A registry that refuses is no fault of ours that a stack could explain.
      const why = error instanceof AppError ? { problem: error.message } : { error };
      this.#deps.log.warn("pull failed", { image: reference, ...why });
      throw error;
    }
  }

  async #resolved(reference: string, image: Image, own: KnownFunction): Promise<ResolvedImage> {
    checkCommand(reference, own, image.config);
    const problem = volumeProblem(image.config.volumes);
    if (problem !== undefined) throw new AppError("image_invalid", `Image "${reference}" cannot be run: ${problem}`);
    const digest = await this.#origins.digestOf(reference, image);
    if (this.#deps.shared === null) return { image_id: image.id, digest };
    this.checkReach({ image: reference, digest });
    const { image_id = null } = own;
    if (digest === null || digest !== own.digest || image_id === null) return { image_id: image.id, digest };
    if (this.ownId(image_id) !== image.id) await this.#deps.shared.note(image_id, image.id);
    return { image_id, digest };
  }
}

function builtAndGone(reference: string): AppError {
  const message = `Image "${reference}" is not on the engine, and no registry has images of this server's builds: build it again`;
  return new AppError("image_not_found", message);
}

function checkCommand(reference: string, own: OwnCommand, config: ImageConfig): void {
  if (commandOf(own, config).length > 0) return;
  throw new AppError(
    "image_invalid",
    own.entrypoint || own.command
      ? 'There is nothing to run: "entrypoint" is empty, or drops the image\'s command, and "command" gives none'
      : `Image "${reference}" has no entrypoint and no command, so there is nothing to run: give "entrypoint" or "command", or add ENTRYPOINT or CMD to its Dockerfile`,
  );
}
