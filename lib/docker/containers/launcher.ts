import type { Duplex } from "node:stream";
import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Containers } from "../api/containers.ts";
import { EngineError, isEngineStatus } from "../api/errors.ts";
import type { EngineEvents } from "../api/events.ts";
import type { ImageConfig } from "../api/images.ts";
import type { Logger } from "../../log.ts";
import { commandOf } from "../images/command.ts";
import { containerSpec } from "./container-spec.ts";
import type { OwnContainers, OwnContainer } from "./own-containers.ts";
import { GATE_DIRECTORY, type GateVolume } from "./gate-volume.ts";
import type { ImageResolver } from "../images/image-resolver.ts";
import { Instance } from "../../runner/instance/instance.ts";
import { StrictUsers } from "./strict-users.ts";

/** The image that a function runs is not on the engine; it may be pulled again. */
export class ImageGoneError extends Error {
  override readonly name = "ImageGoneError";
}

/** Makes instances and sees their containers off. */
export class Launcher implements Disposable {
  readonly #containers: Containers;
  readonly #own: OwnContainers;
  readonly #events: EngineEvents;
  readonly #images: ImageResolver;
  readonly #gates: GateVolume;
  readonly #users: StrictUsers;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #owner: string;
  readonly #contextRoot: string;
  readonly #timeoutMs: number;
  readonly #instances = new Set<Instance>();

  constructor(options: {
    containers: Containers;
    own_containers: OwnContainers;
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
    this.#own = options.own_containers;
    this.#events = options.events;
    this.#images = options.images;
    this.#gates = options.gates;
    this.#users = new StrictUsers(options.containers);
    this.#clock = options.clock;
    this.#log = options.log;
    this.#owner = options.owner;
    this.#contextRoot = options.context_root;
    this.#timeoutMs = options.timeout_ms;
  }

  /**
   * A new instance that is ready. Throws `ImageGoneError` where the engine has lost the image, what the engine said
   * where it refuses the container, and the signal's reason when it aborts.
   */
  async launch(fn: Function, signal: AbortSignal, network = fn.network): Promise<Instance> {
    await this.#events.settled;
    if (this.#events.problem) throw this.#events.problem;
    try {
      return await this.#launch(fn, signal, network);
    } catch (error) {
      // No byte of a call has reached the gate: to try again is safe, and what was lost or spoilt is found on the way.
      if (!isGateMissing(error) && !isLost(error)) throw refusal(fn, error);
      this.#log.warn("a container ended before it was ready, trying once more", {
        function_id: fn.id,
        problem: messageOf(error),
      });
      try {
        return await this.#launch(fn, signal, network);
      } catch (second) {
        throw refusal(fn, second);
      }
    }
  }

  /** Retires all instances; `OwnContainers` knows when their containers are gone. */
  [Symbol.dispose](): void {
    for (const instance of this.#instances) instance.retire();
  }

  async #launch(fn: Function, signal: AbortSignal, network: string): Promise<Instance> {
    signal.throwIfAborted();
    const imageId = fn.image_id ?? "";
    const image = await this.#images.config(imageId);
    if (image === undefined) throw new ImageGoneError(imageId);
    try {
      const gate = await this.#gates.ensure(imageId);
      const setting = {
        owner: this.#owner,
        image,
        gate,
        gate_mount: this.#gates.mount(true),
        context_root: this.#contextRoot,
        network,
      };
      const doubtGate = this.#gates.doubt();
      const container = await this.#own.create("", containerSpec(fn, setting));
      await this.#checkUser(fn, image, container);
      return await this.#start({ container, imageId, command: commandOf(fn, image), doubtGate }, signal);
    } catch (error) {
      throw isImageGone(fn, error) ? new ImageGoneError(imageId) : error;
    }
  }

  async #checkUser(fn: Function, image: ImageConfig, container: OwnContainer): Promise<void> {
    try {
      await this.#users.check(fn, image, container.id);
    } catch (error) {
      this.#own.remove(container);
      throw error;
    }
  }

  async #start(
    created: {
      readonly container: OwnContainer;
      readonly imageId: string;
      readonly command: readonly string[];
      readonly doubtGate: () => void;
    },
    signal: AbortSignal,
  ): Promise<Instance> {
    const { container, imageId, command, doubtGate } = created;
    let instance: Instance | undefined;
    try {
      instance = await this.#attach(container, imageId, command);
      await this.#containers.start(container.id, signal);
      await instance.ready(this.#timeoutMs, signal);
      return instance;
    } catch (error) {
      instance?.retire();
      signal.throwIfAborted();
      if (isGateMissing(error) || isLost(error)) doubtGate();
      throw error;
    }
  }

  async #attach(container: OwnContainer, imageId: string, command: readonly string[]): Promise<Instance> {
    let stream: Duplex;
    try {
      stream = await this.#containers.attach(container.id);
    } catch (error) {
      this.#own.remove(container);
      throw error;
    }
    const instance = new Instance({
      container_id: container.id,
      image_id: imageId,
      command,
      stream,
      events: this.#events,
      clock: this.#clock,
    });
    this.#instances.add(instance);
    void instance.retired.then(() => {
      this.#instances.delete(instance);
      // The gate exits when its stream is closed, and the engine removes the container.
      this.#own.seeOff(container);
    });
    return instance;
  }
}

function isImageGone(fn: Function, error: unknown): boolean {
  return (
    isEngineStatus(error, 404) &&
    lostNetwork(fn, error) === undefined &&
    /no such image|image.* not found|not found: .*image/i.test(error.message)
  );
}

/** Podman prepares a container when it is attached to, and then has a 409 for what Docker says at its start. */
function isGateMissing(error: unknown): boolean {
  return (
    isEngineStatus(error, 400, 404, 409, 500) &&
    ["container start", "container attach"].includes(error.operation) &&
    error.message.includes(`${GATE_DIRECTORY}/`)
  );
}

function isLost(error: unknown): boolean {
  return error instanceof AppError && error.reason === "instance_lost";
}

/** What the engine's refusal of a container means for the caller. The engine's text may name paths of the host. */
function refusal(fn: Function, error: unknown): unknown {
  if (!(error instanceof EngineError)) return error;
  const head = `Cannot start a container of image "${fn.image}"`;
  const network = lostNetwork(fn, error);
  if (network !== undefined) {
    return new AppError(
      "engine_unavailable",
      `${head}: the engine has no network "${network}" any more: make it anew, or PATCH the function's "network"`,
      { cause: error, retry_after_s: 5 },
    );
  }
  const wrong = wrongSetting(fn, error.message);
  if (wrong !== undefined) return new AppError("entrypoint_failed", `${head}: ${wrong}`, { cause: error });
  return new AppError(
    "engine_unavailable",
    `${head}: the engine refused (${error.operation}, status ${error.status}); the server's log has its words`,
    {
      cause: error,
      retry_after_s: 5,
    },
  );
}

/** The engine says so at create or at start; a network's name may be `my-image`, so its own words are looked for first. */
function lostNetwork({ network }: Function, error: unknown): string | undefined {
  return isEngineStatus(error, 404) && /network\b.*\bnot found/i.test(error.message) ? network : undefined;
}

/** Which setting the engine refuses, and what to do, by the words of Docker 20.10 to 29. */
function wrongSetting(fn: Function, said: string): string | undefined {
  const account = /unable to find (user|group) ([^:]+)/.exec(said);
  if (account !== null) {
    const where = fn.user === null ? "its USER" : `the function's "user"`;
    return `the image has no ${account[1]} "${account[2]}"; check ${where}`;
  }
  if (/unknown.* runtime/i.test(said)) return `the engine has no runtime "${fn.runtime}" any more: PATCH "runtime"`;
  if (/range of cpus/i.test(said)) return `"cpus" is ${fn.cpus}, and the engine's machine has fewer: lower it`;
  if (/chdir to cwd|cannot mkdir/i.test(said)) {
    return fn.working_dir === null
      ? "its WORKDIR cannot be entered; check that it is a directory and that its USER may"
      : `"working_dir" ${JSON.stringify(fn.working_dir)} cannot be entered; check that it is a directory and that the user may`;
  }
  return /memory/i.test(said) ? '"memory_bytes" is too small for the engine' : undefined;
}
