import type { Clock } from "../../clock.ts";
import { TaskGroup } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { type Containers, type ContainerSpec, NAME_PREFIX } from "../api/containers.ts";
import type { EngineEvents } from "../api/events.ts";
import type { Logger } from "../../log.ts";
import { EngineError } from "../api/connection.ts";

/** The time that a container has to end by itself after its stream was closed, before the engine must remove it. */
const REMOVAL_GRACE_MS = 1_000;
/** The most attempts to remove a container. After that the sweep removes it. */
const REMOVAL_TRIES = 3;
/** The wait for containers that the engine is creating when the server stops. A slower engine's are swept later. */
const LAST_CREATIONS_MS = 1_500;
/** The wait for the last containers when the server stops. If the engine hangs, the next start sweeps them. */
const LAST_REMOVALS_MS = 5_000;

/** A container that was created here. */
export interface OwnContainer {
  readonly id: string;
  readonly name: string;
}

interface OwnContainersDeps {
  readonly containers: Pick<Containers, "create" | "remove">;
  readonly events: Pick<EngineEvents, "problem" | "containerEnd" | "forget">;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The ledger of this server's containers: each is in it from before its creation until the engine says that it is gone. Any
 * other container with our label and our name is a stray and is removed as soon as it is seen: by its `create` event if
 * the engine created it after we had given up on the request, else by the sweep.
 */
export class OwnContainers implements AsyncDisposable {
  readonly #deps: OwnContainersDeps;
  readonly #names = new Set<string>();
  /** Containers that are not known to be gone, by their ids: name, and a promise of that. */
  readonly #present = new Map<string, { readonly name: string; readonly gone: PromiseWithResolvers<void> }>();
  readonly #creations = new TaskGroup();
  readonly #removals = new TaskGroup();
  #stopping = false;

  constructor(deps: OwnContainersDeps) {
    this.#deps = deps;
  }

  /** Returns whether a container with this name is in the ledger, and not a stray. */
  owns(name: string): boolean {
    return this.#names.has(name);
  }

  /** Creates a container; `purpose` becomes part of its name. Throws `shutting_down` if the server stops meanwhile. */
  create(purpose: "" | "fill-" | "look-", spec: ContainerSpec): Promise<OwnContainer> {
    return this.#creations.add(this.#create(purpose, spec));
  }

  async #create(purpose: "" | "fill-" | "look-", spec: ContainerSpec): Promise<OwnContainer> {
    const name = `${NAME_PREFIX}${purpose}${this.#deps.clock.uuid()}`;
    this.#names.add(name);
    try {
      const id = await this.#deps.containers.create(name, spec);
      this.#present.set(id, { name, gone: Promise.withResolvers() });
      if (!this.#stopping) return { id, name };
      // Nobody else would remove it: it has never been started, and those who asked for it are gone.
      this.remove({ id, name });
    } catch (error) {
      // An engine that refused has created nothing. If its answer was lost, it may have created one, or may do so yet.
      if (error instanceof EngineError && error.status >= 400 && error.status < 500) this.#names.delete(name);
      else void this.#removals.add(this.#remove(name, name));
      throw error;
    }
    throw new AppError("shutting_down", "The server stopped: try again in a moment");
  }

  /** Settles when a container that was created here is known to be gone. */
  async gone(id: string): Promise<void> {
    await this.#present.get(id)?.gone.promise;
  }

  /** Takes the names of all containers that still exist: others that could not be removed are gone now. */
  seen(names: ReadonlySet<string>): void {
    for (const [id, { name }] of this.#present) if (!this.owns(name) && !names.has(name)) this.#forget(id);
  }

  /** Removes a container in the background. */
  remove({ id, name }: OwnContainer): void {
    void this.#removals.add(this.#remove(id, name));
  }

  /** Waits in the background until a container that is ending is gone, and removes it if it does not go. */
  seeOff(container: OwnContainer): void {
    void this.#removals.add(this.#seeOff(container));
  }

  /** Notes a container that the engine has just created. A stray is removed. */
  noteCreated(container: OwnContainer): void {
    if (this.owns(container.name)) return;
    this.#deps.log.info("stray container created, removing it", { container: container.name });
    this.#names.add(container.name);
    this.remove(container);
  }

  /** Waits for the creations and removals that are under way, but not for long if the engine does not answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { clock, log } = this.#deps;
    this.#stopping = true;
    await this.#creations.settledWithin(clock, LAST_CREATIONS_MS);
    if (await this.#removals.settledWithin(clock, LAST_REMOVALS_MS)) return;
    log.warn("containers not removed, the next start will", { count: this.#removals.size });
  }

  async #seeOff(container: OwnContainer): Promise<void> {
    const { gone } = await this.#deps.events.containerEnd(container.id, "gone", REMOVAL_GRACE_MS);
    this.#deps.events.forget(container.id);
    if (!gone) return this.#remove(container.id, container.name);
    this.#names.delete(container.name);
    this.#forget(container.id);
  }

  #forget(id: string): void {
    this.#present.get(id)?.gone.resolve();
    this.#present.delete(id);
  }

  async #remove(idOrName: string, name: string): Promise<void> {
    try {
      for (let tries = 1; ; tries++) {
        try {
          await this.#deps.containers.remove(idOrName);
          return this.#forget(idOrName);
        } catch (error) {
          if (tries === REMOVAL_TRIES || this.#deps.events.problem) throw error;
        }
      }
    } catch (error) {
      this.#deps.log.warn("container not removed, the sweep will try again", {
        container: name,
        problem: messageOf(error),
      });
    } finally {
      this.#names.delete(name);
    }
  }
}
