import type { Clock } from "../../clock.ts";
import { isBooted } from "../../domain/functions/contract.ts";
import type { Function } from "../../domain/functions/functions.ts";

/**
 * A refill costs the engine some 400 ms of CPU time, which slows down calls that run meanwhile. So it waits until no call
 * runs, but for no longer than this, in milliseconds: most calls are over by then.
 */
const PAUSE_MS = 20;
/** The same for the first request to a server, in which it may still load and compile code: most take longer than the calls of others. */
const FIRST_REQUEST_MS = 60;
/** The pause after the end of a call, in milliseconds: its answer has yet to be written, sent and read. */
const QUIET_MS = 5;

/** Puts refills off while calls run, but not forever. */
export class RefillPause implements Disposable {
  readonly #clock: Clock;
  readonly #onOver: () => void;
  #calls = 0;
  /** The times from which running calls, and calls that have ended if none has begun, no longer put a refill off. */
  #deadline = -Infinity;
  #quietAt = -Infinity;
  #cancel: (() => void) | undefined;

  /** Calls `onOver` when refills that were put off may start. */
  constructor(clock: Clock, onOver: () => void) {
    this.#clock = clock;
    this.#onOver = onOver;
  }

  callBegins({ contract, max_calls }: Pick<Function, "contract" | "max_calls">): void {
    this.#calls++;
    // A refill that already waits is not put off again: under steady load it would wait forever.
    if (this.#cancel !== undefined) return;
    const pauseMs = isBooted(contract) && max_calls === 1 ? FIRST_REQUEST_MS : PAUSE_MS;
    this.#deadline = Math.max(this.#deadline, this.#clock.monotonic() + pauseMs);
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

  /** Returns whether a refill may start now. If not, `onOver` will be called. */
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
