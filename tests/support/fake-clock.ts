import type { Clock } from "../../lib/clock.ts";

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** A clock that stands still until a test advances it. */
export class FakeClock implements Clock {
  #monotonic = 0;
  #wall = Date.UTC(2026, 0, 31, 12);
  #uuids = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { at: this.#monotonic + Math.max(0, ms), run };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Different each time, and the same sequence in each test. */
  uuid(): string {
    return `00000000-0000-4000-8000-${(++this.#uuids).toString(16).padStart(12, "0")}`;
  }

  invocationId(): string {
    return this.uuid();
  }

  /** The next random number; a test may set it. */
  chance = 0.5;

  random(): number {
    return this.chance;
  }

  /** Timers that have neither run nor been cancelled. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Advances time: each timer that falls due runs at its time, and whatever waits for it runs before the next timer. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await settled();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#pass(next.at - this.#monotonic);
      this.#timers.delete(next);
      next.run();
      await settled();
    }
    this.#pass(end - this.#monotonic);
  }

  /** Moves the time of day, as an administrator might; durations are unaffected. */
  jump(ms: number): void {
    this.#wall += ms;
  }

  #pass(ms: number): void {
    this.#monotonic += ms;
    this.#wall += ms;
  }

  #next(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer;
    return next;
  }
}

/** Resolves when all consequences of past events have happened; no time passes. */
export async function settled(): Promise<void> {
  // Streams need an extra turn or two.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
