import type { Clock } from "../../clock.ts";

/** The end of a container, as far as the engine has reported it. */
export interface ContainerEnd {
  readonly oom: boolean;
  readonly died: boolean;
  readonly gone: boolean;
}

const UNKNOWN: ContainerEnd = { oom: false, died: false, gone: false };
/** The most ends that are kept; beyond that the oldest, which nobody has asked for, are dropped. */
const KEPT = 10_000;

/** Keeps the known ends of containers, and the callers that wait for one. */
export class ContainerEnds {
  readonly #clock: Clock;
  readonly #known = new Map<string, ContainerEnd>();
  readonly #waiters = new Map<string, Set<(final: boolean) => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes an event from the engine. */
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

  /** Waits for the end of a container for at most so many milliseconds, and returns what is known then. */
  async wait(containerId: string, until: "died" | "gone", timeoutMs: number): Promise<ContainerEnd> {
    const { promise, resolve } = Promise.withResolvers<ContainerEnd>();
    const check = (final: boolean) => {
      const end = this.#known.get(containerId) ?? UNKNOWN;
      if (final || end[until]) resolve(end);
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

  /** Ends all waits with what is known: nothing more will come. */
  giveUp(): void {
    for (const waiters of this.#waiters.values()) for (const check of waiters) check(true);
  }

  /** Forgets a container that nobody will ask for again. */
  forget(containerId: string): void {
    this.#known.delete(containerId);
  }
}
