/**
 * The true value at a rank is at most this much above or below what a histogram says: each bucket is wider than the one
 * before by so much that its middle is that close to both of its ends.
 */
export const RELATIVE_ERROR = 0.025;

const WIDTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR);
const LOG_WIDTH = Math.log(WIDTH);
/** The last bucket begins at 34 hours: no call takes longer, but what does is counted there. */
const LAST = 511;

/**
 * Counts times in buckets whose bounds are powers of one number, from a microsecond on. So any two histograms can be merged,
 * and are as exact as one that was told everything. It holds only the buckets that have something, 512 at most.
 */
export class Histogram {
  /** Counts by the number of the bucket: 0 is for less than a microsecond, 1 for just that. */
  readonly counts = new Map<number, number>();

  /** Counts a time in milliseconds. */
  add(ms: number): void {
    this.addTo(bucketOf(ms), 1);
  }

  addTo(bucket: number, count: number): void {
    this.counts.set(bucket, (this.counts.get(bucket) ?? 0) + count);
  }

  merge(other: Histogram): void {
    for (const [bucket, count] of other.counts) this.addTo(bucket, count);
  }

  /** Returns the times, in milliseconds, below which these parts of all lie; undefined if nothing was counted. */
  quantiles(parts: readonly number[]): number[] | undefined {
    if (this.counts.size === 0) return undefined;
    const ordered = [...this.counts].toSorted(([a], [b]) => a - b);
    const total = ordered.reduce((sum, [, count]) => sum + count, 0);
    return parts.map((part) => {
      let rank = Math.max(1, Math.ceil(part * total));
      const found = ordered.find(([, count]) => (rank -= count) <= 0);
      return middleOf(found?.[0] ?? LAST);
    });
  }
}

function bucketOf(ms: number): number {
  const microseconds = ms * 1000;
  // NaN is not above 0 either. The clocks of the engine may be set back.
  if (!(microseconds >= 1)) return 0;
  return Math.min(LAST, 1 + Math.ceil(Math.log(microseconds) / LOG_WIDTH));
}

/** Returns the time in the middle of a bucket, in milliseconds, to four digits. */
function middleOf(bucket: number): number {
  if (bucket === 0) return 0;
  return Number(((2 * WIDTH ** (bucket - 1)) / (WIDTH + 1) / 1000).toPrecision(4));
}
