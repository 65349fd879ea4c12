import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import { LEAST_BYTES_PER_S } from "../../domain/limits.ts";

/**
 * The pace at which a body arrives. It is too slow after `stallMs` without a byte, and when less than
 * `LEAST_BYTES_PER_S` has come on average, which is not asked of the first `stallMs`.
 */
export class BodyPace {
  readonly #clock: Clock;
  readonly #stallMs: number;
  #began: number;
  #latest: number;
  #giveUp: () => void = () => undefined;
  #cancelTimer: () => void = () => undefined;
  /** When nobody began to wait for bytes; undefined while somebody does. */
  #pausedAt: number | undefined;
  #isLifted = false;
  bytes = 0;
  /** The error for a body that was too slow. */
  problem: AppError | undefined;

  constructor(clock: Clock, stallMs: number) {
    this.#clock = clock;
    this.#stallMs = stallMs;
    this.#began = clock.monotonic();
    this.#latest = this.#began;
  }

  /** Begins to watch; `giveUp` is called once if the body is too slow. */
  start(giveUp: () => void): void {
    this.#giveUp = giveUp;
    if (this.#pausedAt === undefined) this.#check();
  }

  arrived(bytes: number): void {
    this.bytes += bytes;
    this.#latest = this.#clock.monotonic();
  }

  /** Stops the clock until `resume`: nobody takes what has arrived. */
  pause(): void {
    this.#cancelTimer();
    this.#pausedAt = this.#clock.monotonic();
  }

  /** Goes on after a pause, which does not count. */
  resume(): void {
    if (this.#pausedAt === undefined) return;
    const paused = this.#clock.monotonic() - this.#pausedAt;
    this.#pausedAt = undefined;
    this.#began += paused;
    this.#latest += paused;
    this.#check();
  }

  /** Ends the watch: from now on the body may be as slow as it likes. */
  lift(): void {
    this.#isLifted = true;
    this.#cancelTimer();
  }

  stop(): void {
    this.#cancelTimer();
  }

  /** Looks when the body can first be too slow: bytes that arrive until then only move that moment. */
  #check(): void {
    if (this.#isLifted) return;
    const now = this.#clock.monotonic();
    const silentAt = this.#latest + this.#stallMs;
    const slowAt = this.#began + Math.max(this.#stallMs, (this.bytes / LEAST_BYTES_PER_S) * 1_000);
    const next = Math.min(silentAt, slowAt);
    if (next > now) {
      // A timer may be early by a fraction of a millisecond.
      this.#cancelTimer = this.#clock.after(Math.max(1, next - now), () => this.#check());
      return;
    }
    this.problem = this.bytes === 0 ? tooLate(this.#stallMs) : silentAt <= now ? stalled(this.#stallMs) : tooSlow();
    this.#giveUp();
  }
}

/** Returns the error for a body of which nothing, or not all, had arrived in time. */
export function tooLate(withinMs: number): AppError {
  return new AppError("request_timeout", `The request body did not arrive within ${withinMs / 1000} s: send it faster`);
}

function stalled(stallMs: number): AppError {
  return new AppError(
    "request_timeout",
    `The request body stopped arriving for ${stallMs / 1000} s: send it again, without such a pause`,
  );
}

function tooSlow(): AppError {
  return new AppError(
    "request_timeout",
    `The request body arrived at less than ${LEAST_BYTES_PER_S} bytes a second: send it faster`,
  );
}
