import type { Duplex } from "node:stream";
import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { cellsUnavailable } from "../../domain/functions/isolation.ts";
import { ISOLATED } from "../../domain/functions/settings.ts";
import type { Logger } from "../../log.ts";
import type { Containers, ContainerSpec } from "../api/containers.ts";
import type { EngineEvents } from "../api/events.ts";
import { type ImageConfig, commandOf } from "../api/images.ts";
import { type Channel, endedEarly, notReady } from "../../runner/platform.ts";
import type { ImageResolver } from "../images/image-resolver.ts";
import { GATE_DIRECTORY, pathOf, volumeProblem } from "../images/volumes.ts";
import type { IsolatedNetwork } from "../networks/isolated-network.ts";
import { cellSpec } from "./cells/cell-spec.ts";
import { ContainerChannel } from "./container-channel.ts";
import { type ContainerSetting, containerSpec, droppedCapabilities } from "./container-spec.ts";
import type { GateVolume } from "./gate-volume.ts";
import {
  gateHidden,
  isContainerRemoved,
  isGateMissing,
  isImageGone,
  isLimitRefused,
  isNetworkLost,
  refusal,
} from "./launch-errors.ts";
import type { OpenFiles } from "./open-files.ts";
import type { OwnContainer, OwnContainers } from "./own-containers.ts";
import type { SettingsCheck } from "./settings-check.ts";
import { NOBODY } from "./accounts.ts";
import { ImageUsers } from "./image-users.ts";

/** Thrown if the engine does not have the image that a function runs. It may be possible to pull it again. */
export class ImageGoneError extends Error {
  override readonly name = "ImageGoneError";
}

interface LauncherDeps {
  readonly containers: Containers;
  readonly own_containers: OwnContainers;
  readonly events: EngineEvents;
  readonly images: ImageResolver;
  readonly gates: GateVolume;
  readonly settings: SettingsCheck;
  readonly isolated: IsolatedNetwork;
  readonly open_files: OpenFiles;
  readonly clock: Clock;
  readonly log: Logger;
  readonly owner: string;
  readonly context_root: string;
  /** The time that a holder has until its gate says READY, in milliseconds. */
  readonly timeout_ms: number;
}

/** The most starts of a container in the isolated network, which somebody may be removing. */
const ISOLATED_TRIES = 3;

/** A container that was created, and what it was made of. */
interface Created {
  readonly container: OwnContainer;
  readonly command: readonly string[];
  readonly doubtGate: () => void;
  readonly accept: Channel["accept"];
}

/** Creates and starts the containers of functions. */
export class Launcher implements Disposable {
  readonly #deps: LauncherDeps;
  readonly #users: ImageUsers;
  readonly #channels = new Set<ContainerChannel>();

  constructor(deps: LauncherDeps) {
    this.#deps = deps;
    this.#users = new ImageUsers(deps);
  }

  /**
   * Starts a container and connects to it. Throws `ImageGoneError` if the engine has lost the image, an `AppError` with
   * the engine's words if it refuses the container, and the signal's reason when it aborts.
   */
  async launch(fn: Function, signal: AbortSignal, network = fn.network): Promise<ContainerChannel> {
    const { events, log } = this.#deps;
    await events.settled;
    if (events.problem) throw events.problem;
    try {
      return await this.#launchWithinLimits(fn, signal, network);
    } catch (error) {
      // No byte of a call has reached the gate: it is safe to try again, and the next start finds the gate lost or damaged.
      const isRemoved = isContainerRemoved(error);
      if (!isRemoved && !isGateMissing(error)) throw refusal(fn, error);
      const what = isRemoved ? "a container was removed before its start" : "the gate of a container is missing";
      log.warn(`${what}, trying once more`, {
        function_id: fn.id,
        problem: error.message,
      });
    }
    try {
      return await this.#launchWithinLimits(fn, signal, network);
    } catch (error) {
      throw isGateMissing(error) ? gateHidden(fn, error) : refusal(fn, error);
    }
  }

  /** Starts a container that only holds a network. Settles when its gate, which is never called, has sent something. */
  async launchHolder(fn: Function, signal: AbortSignal): Promise<ContainerChannel> {
    // Its gate is never called, so it needs no cells.
    const channel = await this.launch({ ...fn, isolation: "container" }, signal);
    const { clock, timeout_ms } = this.#deps;
    const spoken = Promise.withResolvers<void>();
    const cancel = clock.after(timeout_ms, () => spoken.reject(notReady(timeout_ms)));
    channel.read({
      onBytes: () => spoken.resolve(),
      onEnd: (why) => void channel.ended().then((ending) => spoken.reject(endedEarly(ending, why))),
      onBroken: (problem) => spoken.reject(endedEarly({ how: "died" }, problem)),
    });
    try {
      await spoken.promise;
      return channel;
    } catch (error) {
      if (isLost(error)) channel.reject();
      else channel.close();
      throw error;
    } finally {
      cancel();
    }
  }

  /** Closes all channels; `OwnContainers` knows when the containers are gone. */
  [Symbol.dispose](): void {
    for (const channel of this.#channels) channel.close();
  }

  /** Starts a container with as many open files as the engine allows, unless its function says how many. */
  async #launchWithinLimits(fn: Function, signal: AbortSignal, network: string): Promise<ContainerChannel> {
    const { open_files, log } = this.#deps;
    for (;;) {
      const { hard } = open_files;
      try {
        return await this.#launchIn(fn, signal, network);
      } catch (error) {
        if (fn.nofile !== null || !isLimitRefused(error) || !open_files.refuse(hard)) throw error;
        log.warn("the engine refuses a limit of open files, trying a smaller one", { hard, problem: error.message });
      }
    }
  }

  /** Starts a container in a network. The isolated one is made, and made again if it turns out to be gone: no call has begun. */
  async #launchIn(fn: Function, signal: AbortSignal, network: string): Promise<ContainerChannel> {
    if (network !== ISOLATED) return this.#launch(fn, signal, network);
    const { isolated, log } = this.#deps;
    for (let tries = 1; ; tries++) {
      const id = await isolated.id();
      try {
        return await this.#launch(fn, signal, id);
      } catch (error) {
        if (!isNetworkLost(error) || tries === ISOLATED_TRIES) throw error;
        log.warn("the isolated network is lost, making it again", { problem: error.message });
        await isolated.doubt(id);
      }
    }
  }

  async #launch(fn: Function, signal: AbortSignal, network: string): Promise<ContainerChannel> {
    signal.throwIfAborted();
    const { images, gates, own_containers, owner, context_root, open_files } = this.#deps;
    const imageId = fn.image_id ?? "";
    const image = await images.config(imageId);
    if (image === undefined) throw new ImageGoneError(imageId);
    refuseVolumes(fn, image);
    await this.#checkNamedVolumes(fn);
    const helper = { id: imageId, volumes: image.volumes };
    try {
      const gate = await gates.ensure(helper);
      const user = fn.sandbox === "strict" ? await this.#users.find(fn, image) : undefined;
      const mount = gates.mount(true);
      const setting = {
        owner,
        image,
        user,
        gate,
        gate_mount: mount,
        context_root,
        network,
        open_files: open_files.hard,
      };
      const doubtGate = gates.doubt(helper);
      const container = await own_containers.create("", await this.#spec(fn, setting));
      const accept = accepting(fn, () => gates.prove(helper));
      return await this.#start({ container, command: commandOf(fn, image), doubtGate, accept }, signal);
    } catch (error) {
      throw isImageGone(fn, error) ? new ImageGoneError(imageId) : error;
    }
  }

  async #spec(fn: Function, setting: ContainerSetting): Promise<ContainerSpec> {
    const spec = containerSpec(fn, setting);
    if (fn.isolation !== "cell") return spec;
    const { image, context_root } = setting;
    const strict = fn.sandbox === "strict" ? (setting.user ?? NOBODY) : undefined;
    const user = await this.#users.findForCell(fn, image, strict);
    return cellSpec(fn, { user, image, context_root, dropped: droppedCapabilities(fn) }, spec);
  }

  /** Throws if somebody has made a volume since the function was registered that it may not have. */
  async #checkNamedVolumes({ image, volumes }: Function): Promise<void> {
    const problem = volumes.length > 0 ? await this.#deps.settings.volumesProblem(volumes) : undefined;
    if (problem === undefined) return;
    throw new AppError("entrypoint_failed", `Cannot start a container of image "${image}": ${problem}`);
  }

  async #start(created: Created, signal: AbortSignal): Promise<ContainerChannel> {
    let channel: ContainerChannel | undefined;
    try {
      channel = await this.#attach(created);
      await this.#deps.containers.start(created.container.id, signal);
      return channel;
    } catch (error) {
      channel?.close();
      signal.throwIfAborted();
      if (isGateMissing(error)) created.doubtGate();
      throw error;
    }
  }

  async #attach({ container, command, doubtGate, accept }: Created): Promise<ContainerChannel> {
    const { containers, own_containers, events } = this.#deps;
    let stream: Duplex;
    try {
      stream = await containers.attach(container.id);
    } catch (error) {
      own_containers.remove(container);
      throw error;
    }
    const channel = new ContainerChannel({
      id: container.id,
      command,
      stream,
      events,
      doubtGate,
      accept,
      onClosed: () => {
        this.#channels.delete(channel);
        own_containers.seeOff(container);
      },
      gone: () => own_containers.gone(container.id),
    });
    this.#channels.add(channel);
    return channel;
  }
}

/** Throws for a function that was registered before its image's volumes were looked at. One at our directory does nothing. */
function refuseVolumes(fn: Function, { volumes }: ImageConfig): void {
  const problem = volumeProblem(volumes.filter((volume) => pathOf(volume) !== GATE_DIRECTORY));
  if (problem === undefined) return;
  throw new AppError("entrypoint_failed", `Cannot start a container of image "${fn.image}": ${problem}`);
}

/**
 * Returns the judge of what a gate says of its user and of its cells. Our numbers make no root; this is for an engine that
 * reads them otherwise.
 */
function accepting(fn: Function, onReady: () => void): Channel["accept"] {
  return ({ uid, surroundings, why = "" }) => {
    if (fn.isolation === "cell" && surroundings !== "cells") return cellsUnavailable(why, fn.runtime);
    if (fn.sandbox === "strict" && uid === 0) {
      return new AppError(
        "entrypoint_failed",
        `Cannot start a container of image "${fn.image}": the sandbox "strict" has no root user, and the engine made it one: give another "user", or the sandbox "default"`,
      );
    }
    onReady();
    return undefined;
  };
}

function isLost(error: unknown): boolean {
  return error instanceof AppError && error.reason === "instance_lost";
}
