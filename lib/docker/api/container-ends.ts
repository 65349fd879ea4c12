import type { Clock } from "../../clock.ts";

/** How a container ended, as far as the engine has told. */
export interface ContainerEnd {
  readonly oom: boolean;
  readonly died: boolean;
  readonly gone: boolean;
}

const UNKNOWN: ContainerEnd = { oom: false, died: false, gone: false };
/** ContainerEnds that nobody asked for are dropped, oldest first, beyond this many. */
const KEPT = 10_000;

/** What is known of the ends of containers, and who waits to hear of them. */
export class ContainerEnds {
  readonly #clock: Clock;
  readonly #known = new Map<string, ContainerEnd>();
  readonly #waiters = new Map<string, Set<(final: boolean) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes an event of the engine. */
  take(containerId: string, action: "oom" | "die" | "destroy"): void {
    const before = this.#known.get(containerId) ?? UNKNOWN;
    const died = action !== "oom";
    this.#known.set(containerId, {
      oom: before.oom || action === "oom",
      died: before.died || died,
      gone: before.gone || action === "destroy",
    });
    const oldest = this.#known.keys().next().value;
    if (this.#known.size > KEPT && oldest !== undefined) this.#known.delete(oldest);
    for (const check of this.#waiters.get(containerId) ?? []) check(false);
  }

  /** Waits for the end of a container, at most so many milliseconds, and tells what was known at that moment. */
  async wait(containerId: string, until: "died" | "gone", timeoutMs: number): Promise<ContainerEnd> {
    const { promise, resolve } = Promise.withResolvers<ContainerEnd>();
    const check = (final: boolean) => {
      const fate = this.#known.get(containerId) ?? UNKNOWN;
      if (final || fate[until]) resolve(fate);
    };
    const waiters = this.#waiters.get(containerId) ?? new Set();
    this.#waiters.set(containerId, waiters.add(check));
    const cancel = timeoutMs > 0 ? this.#clock.after(timeoutMs, () => check(true)) : () => undefined;
    check(timeoutMs <= 0);
    try {
      return await promise;
    } finally {
      cancel();
      waiters.delete(check);
      if (waiters.size === 0) this.#waiters.delete(containerId);
    }
  }

  /** Tells all who wait what is known: nothing more will come. */
  giveUp(): void {
    for (const waiters of this.#waiters.values()) for (const check of waiters) check(true);
  }

  /** Drops what is known of a container that nobody will ask for again. */
  forget(containerId: string): void {
    this.#known.delete(containerId);
  }
}
