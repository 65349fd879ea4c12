import type { Clock } from "../../clock.ts";

/**
 * Knows for how long the database has answered without a break. A server takes over work of others only after a pause: their leases may
 * have ended only because the database was away, or because the standby that has replaced it has another time. They write their results
 * and renew their leases as soon as they reach it.
 */
export class Contact {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #pauseMs: number;
  #since: number | undefined;

  /** The pause is in milliseconds. */
  constructor(clock: Pick<Clock, "monotonic">, pauseMs: number) {
    this.#clock = clock;
    this.#pauseMs = pauseMs;
  }

  /** Notes whether the database has answered. */
  heard(isThere: boolean): void {
    if (!isThere) this.#since = undefined;
    else this.#since ??= this.#clock.monotonic();
  }

  /** True if the database has answered the latest look. */
  get isThere(): boolean {
    return this.#since !== undefined;
  }

  /** True if the database has answered for long enough. */
  get isSettled(): boolean {
    return this.#since !== undefined && this.#clock.monotonic() - this.#since >= this.#pauseMs;
  }
}
