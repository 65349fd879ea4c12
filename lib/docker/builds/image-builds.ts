import type { IncomingMessage } from "node:http";
import type { Clock } from "../../clock.ts";
import { stagesUpTo, withOriginalLines } from "../../domain/builds/dockerfile.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { BUILDER_LABEL } from "../../domain/images/labels.ts";
import type { RegistryCredentials } from "../../domain/images/registries.ts";
import type { Logger } from "../../log.ts";
import type { BuildOrder, BuildResult, BuildTimes, BuildWatcher, ImageBuilder } from "../../runner/platform.ts";
import { listLeftImages, listStoppedContainers, openBuild } from "../api/builds.ts";
import { type EngineConnection, EngineError } from "../api/connection.ts";
import type { Containers } from "../api/containers.ts";
import type { Images } from "../api/images.ts";
import { masked } from "../api/registry-auth.ts";
import { progressLines } from "../progress/progress-lines.ts";
import { removeUnusedCache } from "./build-cache.ts";
import { BuildContext } from "./build-context.ts";
import { BuildProgress } from "./build-progress.ts";
import { type BuildSession, openBuildSession, usesBuildKit } from "./build-session.ts";

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

/** The classic builder's words for what it cannot. */
const NEEDS_BUILDKIT = /requires BuildKit/;
const OLD_ENGINE =
  '. This server builds with BuildKit where the engine does so by itself: from Docker 23 on, or with {"features": {"buildkit": true}} in its daemon.json';

/** A reader of the progress of a build. */
interface Progress {
  readonly error: string | undefined;
  add(line: unknown): void;
}

interface RunningBuild {
  readonly order: BuildOrder;
  readonly context: BuildContext;
  readonly credentials: readonly RegistryCredentials[];
  readonly session: BuildSession | undefined;
  readonly progress: Progress;
}

/**
 * Builds images with BuildKit if the engine's own client would, else with the classic builder. Of the classic builder each
 * image that a step makes has our label, so that those of builds that did not succeed, or whose server was killed, are found
 * and removed.
 */
export class ImageBuilds implements ImageBuilder {
  readonly #deps: ImageBuildsDeps;

  constructor(deps: ImageBuildsDeps) {
    this.#deps = deps;
  }

  async build(order: BuildOrder, watcher: BuildWatcher): Promise<BuildResult> {
    const { connection, owner, context_bytes } = this.#deps;
    const credentials = this.#deps.credentials();
    using session = await openBuildSession(connection, credentials, order.signal);
    const context = new BuildContext({
      file: order.context,
      dockerfile: order.request.dockerfile,
      limit_bytes: context_bytes,
      label: session === undefined ? { key: BUILDER_LABEL, value: owner } : undefined,
    });
    const progress = await progressOf(session, context, order, watcher);
    try {
      await this.#run({ order, context, credentials, session, progress });
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

  async removeUnusedCache(builds: readonly BuildTimes[], unusedSince: number): Promise<void> {
    const { connection } = this.#deps;
    // Of the classic builder, images are all that is kept; and older engines measure their whole disk to answer.
    if (await usesBuildKit(connection)) await removeUnusedCache(connection, builds, unusedSince);
  }

  async #run({ order, context, credentials, session, progress }: RunningBuild): Promise<void> {
    const { request, image, signal } = order;
    const { connection, owner, timeout_ms } = this.#deps;
    const archive = await context.open();
    let reply: IncomingMessage | undefined;
    const stop = onAbort(signal, () => reply?.destroy());
    try {
      reply = await openBuild(connection, {
        ...request,
        image,
        context: archive,
        credentials,
        session,
        owner,
        timeout_ms,
        signal,
      });
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
    const hint = NEEDS_BUILDKIT.test(plain) ? OLD_ENGINE : "";
    return { reason: "build_failed", error: credentials.reduce(masked, plain) + hint };
  }
}

/** BuildKit's is loaded for the first such build. */
async function progressOf(
  session: BuildSession | undefined,
  context: BuildContext,
  { request }: BuildOrder,
  watcher: BuildWatcher,
): Promise<Progress> {
  if (session !== undefined) return new (await import("./buildkit-progress.ts")).BuildKitProgress(watcher);
  const added = () => stagesUpTo(request.target, context.dockerfile?.stages ?? []);
  return new BuildProgress({ added, ...watcher });
}
