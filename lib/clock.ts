/** Time and chance as the rest of the code sees them, so that tests can own them. */
export interface Clock {
  /** Milliseconds since the epoch, for timestamps that people read. It may jump. */
  now(): number;
  /** Milliseconds since some fixed moment; never goes back. All durations and timeouts come from it. */
  monotonic(): number;
  /** Calls `run` once after `ms`; the returned function cancels it. A pending timer does not keep the process alive. */
  after(ms: number, run: () => void): () => void;
  /** A random UUID. */
  uuid(): string;
  /** A number from 0 to below 1, drawn evenly. */
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
