import type { Clock } from "../../clock.ts";
import type { Running } from "./attempts.ts";

/** How long what is cancelled waits to hear that its container is gone, in milliseconds. */
const CANCELLED_MS = 2_000;

/** Waiting for containers to be gone, after the attempts in them. */
export class ContainerExits {
  readonly #clock: Clock;
  readonly #abandons = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Waits until a container is gone: what may run on is not tried again before that. What is cancelled is not tried again
   * at all, so it does not wait for an engine that is away. False where the wait was abandoned.
   */
  async wait(running: Running, gone: Promise<void>): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const { signal } = running.abort;
    const abandon = () => resolve(false);
    const onCancel = () => running.cancelled && resolve(true);
    const cancelTimer = signal.aborted ? this.#clock.after(CANCELLED_MS, onCancel) : undefined;
    signal.addEventListener("abort", onCancel, { once: true });
    this.#abandons.add(abandon);
    void gone.then(() => resolve(true));
    try {
      return await promise;
    } finally {
      this.#abandons.delete(abandon);
      signal.removeEventListener("abort", onCancel);
      cancelTimer?.();
    }
  }

  /** Ends all waits: the next server finds the lease. */
  abandon(): void {
    for (const abandon of this.#abandons) abandon();
  }
}
