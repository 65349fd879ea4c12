import type { Clock } from "../../clock.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { Containers, ListedContainer } from "../api/containers.ts";
import type { EngineEvents } from "../api/events.ts";
import type { OwnContainers } from "./own-containers.ts";

/** The time from one sweep to the next, in milliseconds. */
const SWEEP_INTERVAL_MS = 60_000;
/** The same after a sweep that failed or could not remove every stray. */
const SWEEP_RETRY_MS = 1_000;

interface SweepDeps {
  readonly containers: Containers;
  readonly own_containers: OwnContainers;
  readonly events: Pick<EngineEvents, "problem">;
  readonly owner: string;
  /** Called after each sweep that left no stray. */
  readonly onClean: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Removes containers that this database's servers left behind, every minute: a server was killed between create and
 * start, the engine was killed, or someone paused a container. It touches only containers that have our owner label and
 * name and are not in use.
 */
export class Sweep implements Disposable {
  readonly #deps: SweepDeps;
  readonly #alarm: Alarm;
  #stopped = false;

  constructor(deps: SweepDeps) {
    this.#deps = deps;
    this.#alarm = new Alarm(deps.clock, () => this.#tick());
  }

  /** Begins to sweep at intervals. The first sweep comes with the first connection to the engine. */
  start(): void {
    this.#schedule(SWEEP_INTERVAL_MS);
  }

  /** Sweeps now. Containers that cannot be removed are tried again soon. */
  async run(): Promise<void> {
    const { own_containers, onClean, log } = this.#deps;
    try {
      const left = await this.#removeStrays();
      own_containers.seen(new Set(left));
      if (left.length === 0) onClean();
      this.#schedule(left.length > 0 ? SWEEP_RETRY_MS : SWEEP_INTERVAL_MS);
    } catch (error) {
      log.warn("sweep failed", { error });
      this.#schedule(SWEEP_RETRY_MS);
    }
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#alarm.clear();
  }

  /** Removes strays, and returns the names of those that are still there. */
  async #removeStrays(): Promise<string[]> {
    const { containers, log } = this.#deps;
    const strays = await this.#listStrays();
    for (const { id, name, state } of strays) {
      try {
        await containers.remove(id);
        log.info("stray container removed", { container: name, state });
      } catch (error) {
        log.warn("stray container not removed", { container: name, state, problem: messageOf(error) });
      }
    }
    // The list alone says what is gone: an engine that was killed may take a removal for under way that nobody makes.
    const left = strays.length === 0 ? [] : await this.#listStrays();
    return left.map(({ name }) => name);
  }

  async #listStrays(): Promise<readonly ListedContainer[]> {
    const { containers, own_containers, owner } = this.#deps;
    return (await containers.listOwned(owner)).filter(({ name }) => !own_containers.owns(name));
  }

  #tick(): void {
    // An engine that is away is swept when it is back.
    if (this.#deps.events.problem) this.#schedule(SWEEP_INTERVAL_MS);
    else void this.run();
  }

  #schedule(delayMs: number): void {
    if (!this.#stopped) this.#alarm.set(delayMs);
  }
}
