import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import { AppError, messageOf } from "../domain/errors.ts";
import type { Function } from "../domain/functions.ts";
import { type Containers, NAME_PREFIX } from "../engine/containers.ts";
import { EngineError, isEngineStatus } from "../engine/errors.ts";
import type { EngineEvents } from "../engine/events.ts";
import type { Logger } from "../log.ts";
import { containerSpec } from "./container-spec.ts";
import { GATE_DIRECTORY, type GateVolume } from "./gate-volume.ts";
import type { ImageResolver } from "./image-resolver.ts";
import { Instance } from "./instance.ts";

/** How long a container may take to go by itself after its stream was closed, before the engine is told to remove it. */
const REMOVAL_GRACE_MS = 1_000;
/** Tries at removing a container that will not go; after that the sweep has it. */
const REMOVAL_TRIES = 3;

/** The image that a function runs is not on the engine; it may be pulled again. */
export class ImageGoneError extends Error {
  override readonly name = "ImageGoneError";
}

/**
 * Makes instances and sees their containers off. Every container it creates is known here from before its creation
 * until the engine says that it is gone, so that the sweep can tell strays from ours.
 */
export class Launcher implements AsyncDisposable {
  readonly #containers: Containers;
  readonly #events: EngineEvents;
  readonly #images: ImageResolver;
  readonly #gates: GateVolume;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #owner: string;
  readonly #contextRoot: string;
  readonly #timeoutMs: number;
  /** Names of the containers that are being created, run, or being removed. */
  readonly #names = new Set<string>();
  readonly #instances = new Set<Instance>();
  readonly #removals = new Set<Promise<void>>();

  constructor(options: {
    containers: Containers;
    events: EngineEvents;
    images: ImageResolver;
    gates: GateVolume;
    clock: Clock;
    log: Logger;
    owner: string;
    context_root: string;
    timeout_ms: number;
  }) {
    this.#containers = options.containers;
    this.#events = options.events;
    this.#images = options.images;
    this.#gates = options.gates;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#owner = options.owner;
    this.#contextRoot = options.context_root;
    this.#timeoutMs = options.timeout_ms;
  }

  /** All instances that are not retired. */
  get instances(): ReadonlySet<Instance> {
    return this.#instances;
  }

  /** Whether a container of ours with this name is none of the sweep's business. */
  owns(name: string): boolean {
    return this.#names.has(name);
  }

  /**
   * A new instance that is ready. Throws `ImageGoneError` where the engine has lost the image, and what the engine
   * said where it refuses the container.
   */
  async launch(fn: Function, signal: AbortSignal): Promise<Instance> {
    if (this.#events.problem) throw this.#events.problem;
    try {
      return await this.#launch(fn, signal);
    } catch (error) {
      if (!isGateMissing(error)) throw refusal(fn, error);
      this.#log.warn("gate volume lost, filling it again", { function_id: fn.id });
      this.#gates.lost();
      try {
        return await this.#launch(fn, signal);
      } catch (second) {
        throw refusal(fn, second);
      }
    }
  }

  /** Retires all instances and waits until their containers are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const instance of this.#instances) instance.retire();
    while (this.#removals.size > 0) await Promise.all(this.#removals);
  }

  async #launch(fn: Function, signal: AbortSignal): Promise<Instance> {
    const imageId = fn.image_id ?? "";
    const command = await this.#images.command(imageId);
    if (command === undefined) throw new ImageGoneError(imageId);
    const gate = await this.#ensureGate(imageId);
    const name = `${NAME_PREFIX}${this.#clock.uuid()}`;
    this.#names.add(name);
    let containerId: string;
    try {
      const setting = { owner: this.#owner, command, gate, gate_mount: this.#gates.mount(true), context_root: this.#contextRoot };
      containerId = await this.#containers.create(name, containerSpec(fn, setting));
    } catch (error) {
      // Timed out, the container may still come to be: not ours any more, the sweep removes it.
      this.#names.delete(name);
      throw isImageGone(error) ? new ImageGoneError(imageId) : error;
    }
    return this.#start({ name, containerId, imageId, command }, signal);
  }

  async #start(
    created: { readonly name: string; readonly containerId: string; readonly imageId: string; readonly command: readonly string[] },
    signal: AbortSignal,
  ): Promise<Instance> {
    const { name, containerId, imageId, command } = created;
    let stream: Duplex | undefined;
    try {
      // Never aborted in the middle: the engine would go on by itself, with a container that nobody watches.
      signal.throwIfAborted();
      stream = await this.#containers.attach(containerId);
      const instance = new Instance({ container_id: containerId, image_id: imageId, command, stream, events: this.#events, clock: this.#clock });
      this.#instances.add(instance);
      this.#own(instance.retired.then(() => this.#seeOff(instance, name)));
      try {
        await this.#containers.start(containerId);
        await instance.ready(this.#timeoutMs, signal);
      } catch (error) {
        instance.retire();
        throw error;
      }
      return instance;
    } catch (error) {
      if (stream === undefined) this.#own(this.#remove(containerId, name));
      throw error;
    }
  }

  async #ensureGate(imageId: string): Promise<string> {
    try {
      return await this.#gates.ensure(imageId);
    } catch (error) {
      throw isImageGone(error) ? new ImageGoneError(imageId) : error;
    }
  }

  /** The gate exits when its stream is closed, and the engine removes the container; help comes only where that fails. */
  async #seeOff(instance: Instance, name: string): Promise<void> {
    this.#instances.delete(instance);
    const { gone } = await this.#events.fate(instance.containerId, "gone", REMOVAL_GRACE_MS);
    this.#events.forget(instance.containerId);
    if (gone) this.#names.delete(name);
    else await this.#remove(instance.containerId, name);
  }

  async #remove(containerId: string, name: string): Promise<void> {
    try {
      for (let tries = 1; ; tries++) {
        try {
          return await this.#containers.remove(containerId);
        } catch (error) {
          if (tries === REMOVAL_TRIES || this.#events.problem) throw error;
        }
      }
    } catch (error) {
      this.#log.warn("container not removed, the sweep will try again", { container_id: containerId, error });
    } finally {
      this.#names.delete(name);
    }
  }

  #own(removal: Promise<void>): void {
    const owned = removal.finally(() => this.#removals.delete(owned));
    this.#removals.add(owned);
  }
}

function isImageGone(error: unknown): boolean {
  return isEngineStatus(error, 404) && /no such image|image.* not found|not found: .*image/i.test(error.message);
}

function isGateMissing(error: unknown): boolean {
  return isEngineStatus(error, 400, 404, 500) && error.operation === "container start" && error.message.includes(`${GATE_DIRECTORY}/`);
}

/** What the engine's refusal of a container means for the caller. The engine's text may name paths of the host. */
function refusal(fn: Function, error: unknown): unknown {
  if (!(error instanceof EngineError)) return error;
  const head = `Cannot start a container of image "${fn.image}"`;
  const user = /unable to find (?:user|group) ([^:]+)/.exec(error.message)?.[1];
  if (user !== undefined) return new AppError("entrypoint_failed", `${head}: the image has no user "${user}"; check its USER`, { cause: error });
  if (/memory/i.test(messageOf(error))) {
    return new AppError("entrypoint_failed", `${head}: "memory_bytes" is too small for the engine`, { cause: error });
  }
  return new AppError("engine_unavailable", `${head}: the engine refused (${error.operation}, status ${error.status}); the server's log has its words`, {
    cause: error,
    retry_after_s: 5,
  });
}
