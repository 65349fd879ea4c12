/** The recent calls of a pool, from which its target is computed. */
export interface Demand {
  /** Calls a second. */
  readonly rate: number;
  /** The most calls that were in flight at once during the last minute. */
  readonly peak: number;
  /** The smoothed time from the decision to start an instance until it is ready, in milliseconds. */
  readonly refill_ms: number;
  /** The time since the last call, or the registration or change of the function, in milliseconds. */
  readonly idle_ms: number;
}

/** The settings of a function that bound its pool. */
export interface WarmSettings {
  readonly warm_min: number;
  readonly warm_max: number;
  readonly idle_ttl_ms: number;
  readonly max_calls: number;
  readonly concurrency: number;
}

/**
 * Returns how many instances should be ready:
 *
 *     ceil(rate x refill time / max_calls) + ceil(peak / concurrency)    between 1 (or warm_min) and warm_max
 *     warm_min                                                           after idle_ttl_ms without a call
 *
 * By Little's law, rate x refill time calls arrive while one instance is being replaced, which happens every max_calls
 * calls. The peak came at once and may come at once again; an instance serves `concurrency` of its calls.
 */
export function targetOf(demand: Demand, settings: WarmSettings): number {
  if (demand.idle_ms >= settings.idle_ttl_ms) return Math.min(settings.warm_min, settings.warm_max);
  const arriving = demand.rate * (demand.refill_ms / 1000);
  const used = settings.max_calls === 0 ? 0 : Math.ceil(round(arriving / settings.max_calls));
  const present = Math.ceil(demand.peak / settings.concurrency);
  return Math.min(Math.max(used + present, 1, settings.warm_min), settings.warm_max);
}

/** Rounds a rate that has almost died away to zero: `ceil` would make one instance of it. */
function round(value: number): number {
  return value < 0.05 ? 0 : value;
}

/** The time in which two thirds of a change of the rate are followed: a few refills. */
const RATE_MS = 10_000;
/** The part of the rate that one call adds. One or two are not a trend: it is enough to replace the instances they used. */
const ONE_CALL = 1000 / RATE_MS;
/** The peak is kept in steps of this length, so that a burst is forgotten after a minute. */
const PEAK_STEP_MS = 10_000;
const PEAK_STEPS = 6;
/** The refill time before the first instance was started: a start on a small machine takes 300 to 700 ms (lib/docs/architecture.md, The gate). */
const FIRST_REFILL_MS = 500;

/** Measures the calls of one function. All times are monotonic milliseconds that the caller gives. */
export class DemandMeter {
  #rate = 0;
  #rateAt: number;
  #lastCall: number;
  #inFlight = 0;
  #refillMs = FIRST_REFILL_MS;
  /** The most calls at once in each step of time, newest last. */
  readonly #peaks: { readonly step: number; peak: number }[] = [];

  /** A function that was just registered or changed counts as called. */
  constructor(now: number) {
    this.#rateAt = now;
    this.#lastCall = now;
  }

  get lastCall(): number {
    return this.#lastCall;
  }

  /** Notes a change of the function, which counts as a call. */
  touch(now: number): void {
    this.#lastCall = Math.max(this.#lastCall, now);
  }

  arrive(now: number): void {
    this.#rate = this.#decayed(now) + ONE_CALL;
    this.#rateAt = now;
    this.#lastCall = now;
    this.#inFlight++;
    this.#note(now);
  }

  leave(now: number): void {
    this.#inFlight = Math.max(0, this.#inFlight - 1);
    this.touch(now);
  }

  refilled(durationMs: number): void {
    // The mean of about the last four: an engine under load is slower for all of its callers.
    this.#refillMs += (durationMs - this.#refillMs) / 4;
  }

  demand(now: number): Demand {
    this.#note(now);
    const rate = this.#decayed(now);
    return {
      rate: rate > 2 * ONE_CALL ? rate : 0,
      peak: this.#peaks.reduce((most, { peak }) => Math.max(most, peak), 0),
      refill_ms: this.#refillMs,
      idle_ms: this.#inFlight > 0 ? 0 : Math.max(0, now - this.#lastCall),
    };
  }

  #decayed(now: number): number {
    return this.#rate * Math.exp(-Math.max(0, now - this.#rateAt) / RATE_MS);
  }

  #note(now: number): void {
    const step = Math.floor(now / PEAK_STEP_MS);
    while (this.#peaks[0] !== undefined && this.#peaks[0].step <= step - PEAK_STEPS) this.#peaks.shift();
    const last = this.#peaks.at(-1);
    if (last?.step === step) last.peak = Math.max(last.peak, this.#inFlight);
    else this.#peaks.push({ step, peak: this.#inFlight });
  }
}
