import type { IncomingMessage } from "node:http";
import type { Clock } from "../../clock.ts";
import { stagesUpTo, withOriginalLines } from "../../domain/builds/dockerfile.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { BUILDER_LABEL } from "../../domain/images/labels.ts";
import type { RegistryCredentials } from "../../domain/images/registries.ts";
import type { Logger } from "../../log.ts";
import type { BuildOrder, BuildResult, BuildWatcher, ImageBuilder } from "../../runner/platform.ts";
import { listLeftImages, listStoppedContainers, openBuild } from "../api/builds.ts";
import { type EngineConnection, EngineError } from "../api/connection.ts";
import type { Containers } from "../api/containers.ts";
import type { Images } from "../api/images.ts";
import { masked } from "../api/registry-auth.ts";
import { progressLines } from "../progress/progress-lines.ts";
import { BuildContext } from "./build-context.ts";
import { BuildProgress } from "./build-progress.ts";

interface ImageBuildsDeps {
  readonly connection: EngineConnection;
  readonly images: Images;
  readonly containers: Pick<Containers, "remove">;
  /** Marks the images of our builds. */
  readonly owner: string;
  /** The most bytes of a context when it is unpacked. */
  readonly context_bytes: number;
  /** The longest time of a build, in milliseconds. */
  readonly timeout_ms: number;
  /** Returns the credentials of all registries; a build may use any. */
  readonly credentials: () => readonly RegistryCredentials[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** The files of the engine's host that hold a context while it is built: a path below one of them is one of the context. */
const CONTEXT_DIRECTORY = /\/\S*?\/tmp\/docker-builder\d+\/?/g;

/**
 * Builds images with the engine's classic builder. Each image that a step makes has our label, so that those of builds that
 * did not succeed, or whose server was killed, are found and removed.
 */
export class ImageBuilds implements ImageBuilder {
  readonly #deps: ImageBuildsDeps;

  constructor(deps: ImageBuildsDeps) {
    this.#deps = deps;
  }

  async build(order: BuildOrder, watcher: BuildWatcher): Promise<BuildResult> {
    const { owner, context_bytes } = this.#deps;
    const context = new BuildContext({
      file: order.context,
      dockerfile: order.request.dockerfile,
      limit_bytes: context_bytes,
      label: { key: BUILDER_LABEL, value: owner },
    });
    const credentials = this.#deps.credentials();
    const { target } = order.request;
    const progress = new BuildProgress({
      added: () => stagesUpTo(target, context.dockerfile?.stages ?? []),
      ...watcher,
    });
    try {
      await this.#run(order, context, credentials, progress);
    } catch (error) {
      order.signal.throwIfAborted();
      if (context.problem !== undefined) return { reason: "context_invalid", error: context.problem.message };
      if (!(error instanceof EngineError)) throw error;
      return this.#failed(error.message, context, credentials);
    }
    return progress.error === undefined ? this.#built(order.image) : this.#failed(progress.error, context, credentials);
  }

  async discard(image: string): Promise<void> {
    await this.#deps.images.remove(image, { parents: true });
  }

  async sweep(): Promise<boolean> {
    const { connection, owner, images, containers, log } = this.#deps;
    const kept = new Set<string>();
    for (;;) {
      const left = (await listLeftImages(connection, owner)).filter((id) => !kept.has(id));
      if (left.length === 0) return kept.size === 0;
      for (const id of left) {
        for (const container of await listStoppedContainers(connection, id)) await containers.remove(container);
        // With the image, the one below it becomes the next that nothing is built on.
        if (await images.remove(id)) log.info("an image that a build has left was removed", { image_id: id });
        else kept.add(id);
      }
    }
  }

  async #run(
    { request, image, signal }: BuildOrder,
    context: BuildContext,
    credentials: readonly RegistryCredentials[],
    progress: BuildProgress,
  ): Promise<void> {
    const { connection, timeout_ms } = this.#deps;
    const archive = await context.open();
    let reply: IncomingMessage | undefined;
    const stop = onAbort(signal, () => reply?.destroy());
    try {
      reply = await openBuild(connection, { ...request, image, context: archive, credentials, timeout_ms, signal });
      signal.throwIfAborted();
      for await (const line of progressLines(reply)) progress.add(line);
    } catch (error) {
      if (error instanceof AppError || error instanceof EngineError) throw error;
      throw new AppError("engine_unavailable", `The engine broke off the build: ${messageOf(error)}`, { cause: error });
    } finally {
      stop();
      reply?.destroy();
      archive.destroy();
    }
  }

  async #built(image: string): Promise<BuildResult> {
    const found = await this.#deps.images.inspect(image);
    if (found === undefined) {
      return {
        reason: "build_failed",
        error: "The engine has built the image and has lost it: is something removing images?",
      };
    }
    const listed = (await this.#deps.images.list()).find(({ id }) => id === found.id);
    return { image_id: found.id, names: listed?.names ?? [image] };
  }

  #failed(words: string, context: BuildContext, credentials: readonly RegistryCredentials[]): BuildResult {
    const plain = withOriginalLines(words.replaceAll(CONTEXT_DIRECTORY, ""), context.dockerfile?.added ?? []);
    return { reason: "build_failed", error: credentials.reduce(masked, plain) };
  }
}
