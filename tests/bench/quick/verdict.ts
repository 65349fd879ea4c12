import { median } from "../statistics.ts";

/** A row counts as worse only from here on: less is not worth a look. */
const WORSE_FROM = 1.05;
/** The least difference that is no noise, in standard errors of the median. */
const ERRORS = 3;
/** The standard error of a median, of values that are normally distributed, over that of their mean. */
const MEDIAN_ERROR = 1.2533;
/** The standard deviation of such values over the median of their distances from the median. */
const DEVIATION = 1.4826;

export interface Verdict {
  /** Tree divided by base, in each round. */
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly worse: boolean;
}

/** The value of a server that answered nothing: a ratio needs one above 0. */
const NOTHING = 1e-3;

/** Compares rounds of two sides that were measured in turns; `higher` says whether more is better. */
export function judge(base: readonly number[], tree: readonly number[], higher: boolean): Verdict {
  const ratios = tree.map((value, round) => Math.max(value, NOTHING) / Math.max(base[round] ?? 0, NOTHING));
  // Positive means worse. Logarithms, so that twice and half are as far from the middle.
  const losses = ratios.map((ratio) => (higher ? -Math.log(ratio) : Math.log(ratio)));
  const middle = median(losses);
  const spread = median(losses.map((loss) => Math.abs(loss - middle)));
  const error = (MEDIAN_ERROR * DEVIATION * spread) / Math.sqrt(losses.length);
  return {
    median: median(ratios),
    min: Math.min(...ratios),
    max: Math.max(...ratios),
    worse: middle > Math.log(WORSE_FROM) && middle > ERRORS * error,
  };
}
