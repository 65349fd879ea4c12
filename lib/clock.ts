/** Time and randomness, so that tests can control them. */
export interface Clock {
  /** Milliseconds since the epoch, for timestamps. It may jump. */
  now(): number;
  /** Milliseconds since some fixed moment, for durations and timeouts. It never goes back. */
  monotonic(): number;
  /** Calls `run` once after `ms`, unless the returned function is called first. A pending timer does not keep the process alive. */
  after(ms: number, run: () => void): () => void;
  /** A UUID that is random in every part. */
  uuid(): string;
  /**
   * A UUID for a request and its invocation, of version 7: the time in milliseconds, a counter, and 62 bits that nobody can
   * guess. New rows of the store come after those before them, in the same pages of each index; random ids would touch a page
   * each.
   */
  invocationId(): string;
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
  invocationId: () => Bun.randomUUIDv7(),
  random: () => Math.random(),
};
