import type { Clock } from "../../clock.ts";

/** How much a bucket holds, and in which time an empty one is full again. */
export interface BucketSize {
  readonly tokens: number;
  readonly window_ms: number;
}

/** What was spent and has not come back at that moment; it may be more than a bucket holds. */
interface Bucket {
  readonly spent: number;
  readonly at: number;
  /** From when on it is full, and so is as good as none. */
  readonly full_at: number;
}

/**
 * Token buckets, each under its key. Tokens come back evenly, by the clock that nobody sets. A bucket that is full is
 * forgotten, and beyond a number of them the one that was touched longest ago. The size is given at each touch: of one
 * that has changed, what was spent counts on.
 */
export class TokenBuckets {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #max: number;
  /** Those that were touched longest ago come first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor({ clock, max }: { readonly clock: Pick<Clock, "monotonic">; readonly max: number }) {
    this.#clock = clock;
    this.#max = max;
  }

  /** Tokens that are left, a fraction of one among them; less than nothing for a bucket in debt. */
  left(key: string, size: BucketSize): number {
    return size.tokens - this.#spent(key, size);
  }

  /** Takes one, also where there is none; a debt grows to `deepest` and no further. Tells what is left. */
  spend(key: string, size: BucketSize, deepest = 0): number {
    const at = this.#clock.monotonic();
    const spent = Math.min(this.#spent(key, size) + 1, size.tokens - deepest);
    this.#buckets.delete(key);
    this.#buckets.set(key, { spent, at, full_at: at + (spent * size.window_ms) / size.tokens });
    this.#forget(at);
    return size.tokens - spent;
  }

  /** Buckets that are remembered now. */
  get size(): number {
    return this.#buckets.size;
  }

  #spent(key: string, { tokens, window_ms }: BucketSize): number {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return 0;
    return Math.max(0, bucket.spent - ((this.#clock.monotonic() - bucket.at) * tokens) / window_ms);
  }

  /** Two for each that may have come, so that they get fewer. */
  #forget(now: number): void {
    let looked = 0;
    for (const [key, { full_at }] of this.#buckets) {
      if (looked++ === 2 || (full_at > now && this.#buckets.size <= this.#max)) return;
      this.#buckets.delete(key);
    }
  }
}
