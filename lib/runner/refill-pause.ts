import type { Clock } from "../clock.ts";

/**
 * A refill costs the engine some 400 ms of CPU time, which a call that runs beside it feels. So it waits until no call
 * runs, but not for longer than this, in milliseconds: most calls are over by then.
 */
const PAUSE_MS = 20;

/** Keeps refills off the calls that run, as far as that does not keep them off for good. */
export class RefillPause implements Disposable {
  readonly #clock: Clock;
  readonly #onOver: () => void;
  #calls = 0;
  #until = -Infinity;
  #cancel: (() => void) | undefined;

  /** `onOver` is told when refills that were put off may start. */
  constructor(clock: Clock, onOver: () => void) {
    this.#clock = clock;
    this.#onOver = onOver;
  }

  callBegins(): void {
    this.#calls++;
    // One that waits already is not put off again, or under steady load it would wait for ever.
    if (this.#cancel === undefined) this.#until = this.#clock.monotonic() + PAUSE_MS;
  }

  callEnds(): void {
    this.#calls--;
    if (this.#calls === 0) this[Symbol.dispose]();
  }

  /** Whether a refill may start now; where it may not, `onOver` will be called. */
  mayStart(): boolean {
    const wait = this.#until - this.#clock.monotonic();
    if (this.#calls === 0 || wait <= 0) return true;
    this.#cancel ??= this.#clock.after(wait, () => {
      this.#cancel = undefined;
      this.#onOver();
    });
    return false;
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
