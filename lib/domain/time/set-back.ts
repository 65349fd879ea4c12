/**
 * A stored time may be ahead of the clock by so much, in milliseconds. Clocks are corrected by seconds all the time, and
 * for that no schedule shall run a time twice.
 */
const AHEAD_MS = 60_000;

/** Returns whether a stored time was written while the clock was ahead. */
export function isAhead(time: number, now: number): boolean {
  return time > furthest(now);
}

/** Returns the latest time that something may have been written at. */
export function furthest(now: number): number {
  return now + AHEAD_MS;
}

/** Notices that the time of day was set back. */
export class ClockWatch {
  /** An earlier server may have had a clock that was ahead: so the first look also finds it set back. */
  #latest = Infinity;

  /** Returns whether the clock was set back since the last look. */
  wasSetBack(now: number): boolean {
    const isBack = isAhead(this.#latest, now);
    this.#latest = isBack ? now : Math.max(this.#latest, now);
    return isBack;
  }
}
