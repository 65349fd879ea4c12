import type { Clock } from "../../clock.ts";

/** The number of tokens that a bucket holds, and the time that an empty one takes to fill up. */
export interface BucketSize {
  readonly tokens: number;
  readonly window_ms: number;
}

/**
 * Returns the share that one of several servers has of a bucket: it fills up so many times more slowly, and holds as much less, but a
 * token at least, without which nothing would ever pass.
 */
export function shareOf({ tokens, window_ms }: BucketSize, servers: number): BucketSize {
  if (servers === 1) return { tokens, window_ms };
  const share = Math.max(1, tokens / servers);
  return { tokens: share, window_ms: (share * window_ms * servers) / tokens };
}

/** A bucket as of its last change. */
interface Bucket {
  /** Tokens that were missing then; in debt there may be more of them than the bucket holds. */
  readonly spent: number;
  readonly at: number;
  /** The time at which it will be full, and can be forgotten. */
  readonly full_at: number;
}

/**
 * Token buckets by key. Tokens come back evenly, by the monotonic clock. Full buckets are forgotten, and beyond `max`
 * buckets the least recently used ones. The size is given with each use; after a change of it, what was spent still counts.
 */
export class TokenBuckets {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #max: number;
  /** Least recently used first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor({ clock, max }: { readonly clock: Pick<Clock, "monotonic">; readonly max: number }) {
    this.#clock = clock;
    this.#max = max;
  }

  /** Returns the number of tokens that are left, with fractions; negative for a bucket in debt. */
  left(key: string, size: BucketSize): number {
    return size.tokens - this.#spent(key, size);
  }

  /** Takes a token, even if there is none: a debt grows as far as `deepest`. Returns what is left. */
  spend(key: string, size: BucketSize, deepest = 0): number {
    const at = this.#clock.monotonic();
    const spent = Math.min(this.#spent(key, size) + 1, size.tokens - deepest);
    this.#buckets.delete(key);
    this.#buckets.set(key, { spent, at, full_at: at + (spent * size.window_ms) / size.tokens });
    this.#forget(at);
    return size.tokens - spent;
  }

  /** The number of buckets that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  #spent(key: string, { tokens, window_ms }: BucketSize): number {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return 0;
    return Math.max(0, bucket.spent - ((this.#clock.monotonic() - bucket.at) * tokens) / window_ms);
  }

  /** Forgets at most two buckets for each new one, so that their number goes down. */
  #forget(now: number): void {
    let looked = 0;
    for (const [key, { full_at }] of this.#buckets) {
      if (looked++ === 2 || (full_at > now && this.#buckets.size <= this.#max)) return;
      this.#buckets.delete(key);
    }
  }
}
