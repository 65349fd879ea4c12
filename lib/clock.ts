/** Time and randomness, so that tests can control them. */
export interface Clock {
  /** Milliseconds since the epoch, for timestamps. It may jump. */
  now(): number;
  /** Milliseconds since some fixed moment, for durations and timeouts. It never goes back. */
  monotonic(): number;
  /** Calls `run` once after `ms`, unless the returned function is called first. A pending timer does not keep the process alive. */
  after(ms: number, run: () => void): () => void;
  /** A random UUID. */
  uuid(): string;
  /** A random number from 0 to below 1, uniformly distributed. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
  uuid: () => crypto.randomUUID(),
  random: () => Math.random(),
};
