import { AppError } from "../domain/errors.ts";

/** A place among the running instances; give it back exactly once. */
export type Place = () => void;

interface Waiter {
  readonly admit: (place: Place) => void;
}

/**
 * How many instances may run at once, and how many calls may wait for one. First come, first served; a call that
 * finds the queue full is turned away at once with `overloaded`.
 */
export class Admission {
  readonly #maxInstances: number;
  readonly #queueLimit: number;
  /** Insertion order is the queue's order; a Set, so that a caller that goes away leaves in constant time. */
  readonly #queue = new Set<Waiter>();
  #running = 0;
  /** Recent time between two places given back, in seconds, smoothed: what `Retry-After` is computed from. */
  #secondsPerPlace = 1;
  #lastFreed: number | undefined;
  readonly #monotonic: () => number;

  constructor(options: { max_instances: number; queue_limit: number; monotonic: () => number }) {
    this.#maxInstances = options.max_instances;
    this.#queueLimit = options.queue_limit;
    this.#monotonic = options.monotonic;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Waits for a place. Throws `overloaded` when the queue is full, and the signal's reason when it aborts. */
  async enter(signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    if (this.#running < this.#maxInstances) return this.#place();
    if (this.#queue.size >= this.#queueLimit) throw this.#overloaded();
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    const waiter: Waiter = { admit: resolve };
    const leave = () => {
      this.#queue.delete(waiter);
      reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    this.#queue.add(waiter);
    return promise.finally(() => signal.removeEventListener("abort", leave));
  }

  #place(): Place {
    this.#running++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#running--;
      this.#measure();
      this.#admitNext();
    };
  }

  #admitNext(): void {
    const next = this.#queue.values().next().value;
    if (next === undefined || this.#running >= this.#maxInstances) return;
    this.#queue.delete(next);
    next.admit(this.#place());
  }

  #measure(): void {
    const now = this.#monotonic();
    if (this.#lastFreed !== undefined) {
      // An exponential mean over about the last eight calls; longer pauses say nothing about the load.
      const seconds = Math.min((now - this.#lastFreed) / 1000, 10);
      this.#secondsPerPlace += (seconds - this.#secondsPerPlace) / 8;
    }
    this.#lastFreed = now;
  }

  #overloaded(): AppError {
    const retryAfter = Math.min(60, Math.max(1, Math.ceil(this.#queue.size * this.#secondsPerPlace)));
    return new AppError(
      "overloaded",
      `All ${this.#maxInstances} instances are busy and ${this.#queue.size} calls wait already: try again in ${retryAfter} s, or raise MAX_INSTANCES or QUEUE_LIMIT`,
      { retry_after_s: retryAfter },
    );
  }
}
