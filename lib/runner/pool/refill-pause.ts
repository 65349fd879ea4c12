import type { Clock } from "../../clock.ts";

/**
 * A refill costs the engine some 400 ms of CPU time, which a call that runs beside it feels. So it waits until no call
 * runs, but not for longer than this, in milliseconds: most calls are over by then.
 */
const PAUSE_MS = 20;
/** After the end of a call, in milliseconds: its answer has yet to be written, sent and read. */
const QUIET_MS = 5;

/** Keeps refills off the calls that run, as far as that does not keep them off for good. */
export class RefillPause implements Disposable {
  readonly #clock: Clock;
  readonly #onOver: () => void;
  #calls = 0;
  /** When no call keeps a refill off any more; and when those that have ended do not, if no other has begun. */
  #deadline = -Infinity;
  #quietAt = -Infinity;
  #cancel: (() => void) | undefined;

  /** `onOver` is told when refills that were put off may start. */
  constructor(clock: Clock, onOver: () => void) {
    this.#clock = clock;
    this.#onOver = onOver;
  }

  callBegins(): void {
    this.#calls++;
    // One that waits already is not put off again, or under steady load it would wait for ever.
    if (this.#cancel === undefined) this.#deadline = this.#clock.monotonic() + PAUSE_MS;
  }

  callEnds(): void {
    this.#calls--;
    if (this.#calls > 0) return;
    this.#quietAt = this.#clock.monotonic() + QUIET_MS;
    if (this.#cancel === undefined) {
      this.#deadline = Math.max(this.#deadline, this.#quietAt);
    } else {
      this[Symbol.dispose]();
      this.#putOff();
    }
  }

  /** Whether a refill may start now; where it may not, `onOver` will be called. */
  mayStart(): boolean {
    return this.#wait <= 0 || !this.#putOff();
  }

  get #wait(): number {
    const until = this.#calls === 0 ? Math.min(this.#quietAt, this.#deadline) : this.#deadline;
    return until - this.#clock.monotonic();
  }

  #putOff(): true {
    this.#cancel ??= this.#clock.after(Math.max(0, this.#wait), () => {
      this.#cancel = undefined;
      this.#onOver();
    });
    return true;
  }

  [Symbol.dispose](): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
