import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";
import type { Running } from "./attempts.ts";

/** The time that a cancelled attempt waits to hear that its container is gone, in milliseconds. */
const CANCELLED_MS = 2_000;

/** Waits for containers to be gone, after the attempts in them. */
export class ContainerExits {
  readonly #clock: Clock;
  readonly #abandons = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Waits until a container is gone: a function that may still run is not tried again before that. A cancelled
   * invocation is not tried again, so it does not wait for an engine that is away. Returns false if the wait was
   * abandoned.
   */
  async wait(running: Running, gone: Promise<void>): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const { signal } = running.abort;
    const abandon = () => resolve(false);
    const onCancel = () => running.cancelled && resolve(true);
    const stop = signal.aborted ? this.#clock.after(CANCELLED_MS, onCancel) : onAbort(signal, onCancel);
    this.#abandons.add(abandon);
    void gone.then(() => resolve(true));
    try {
      return await promise;
    } finally {
      this.#abandons.delete(abandon);
      stop();
    }
  }

  /** Ends all waits: the next server finds the lease. */
  abandon(): void {
    for (const abandon of this.#abandons) abandon();
  }
}
