/** What a pool has seen of its callers lately; what its target is computed from. */
export interface Demand {
  /** Calls a second. */
  readonly rate: number;
  /** Most calls that were in flight at once during the last minute. */
  readonly peak: number;
  /** Smoothed time from the decision to start an instance until it is ready, in milliseconds. */
  readonly refill_ms: number;
  /** Since the last call, or the registration or change of the function, in milliseconds. */
  readonly idle_ms: number;
}

/** The settings of a function that bound its pool. */
export interface WarmSettings {
  readonly warm_min: number;
  readonly warm_max: number;
  readonly idle_ttl_ms: number;
  readonly max_calls: number;
}

/**
 * How many instances should be ready:
 *
 *     ceil(rate x refill time / max_calls) + peak    between 1 (or warm_min) and warm_max
 *     warm_min                                       once nobody has called for idle_ttl_ms
 *
 * By Little's law, rate x refill time calls arrive while one instance is being replaced, which is due every max_calls
 * calls; the peak is what came at once and may come at once again.
 */
export function targetOf(demand: Demand, settings: WarmSettings): number {
  if (demand.idle_ms >= settings.idle_ttl_ms) return Math.min(settings.warm_min, settings.warm_max);
  const arriving = demand.rate * (demand.refill_ms / 1000);
  const used = settings.max_calls === 0 ? 0 : Math.ceil(round(arriving / settings.max_calls));
  return Math.min(Math.max(used + demand.peak, 1, settings.warm_min), settings.warm_max);
}

/** A rate that has all but died away is none: `ceil` would make one instance of it. */
function round(value: number): number {
  return value < 0.05 ? 0 : value;
}

/** Time in which a change of the rate is followed by two thirds: some refills long. */
const RATE_MS = 10_000;
/** What one call adds to the rate. One or two are no trend: the instances that they used are replaced, which is enough. */
const ONE_CALL = 1000 / RATE_MS;
/** The peak of the last minute, kept in steps, so that it forgets a burst a minute after. */
const PEAK_STEP_MS = 10_000;
const PEAK_STEPS = 6;
/** Before the first instance was started: what a start takes on a small machine (300 to 700 measured; lib/docs/architecture.md, The gate). */
const FIRST_REFILL_MS = 500;

/** Watches one function's calls. All times are monotonic milliseconds, given by the caller. */
export class DemandMeter {
  #rate = 0;
  #rateAt: number;
  #lastCall: number;
  #inFlight = 0;
  #refillMs = FIRST_REFILL_MS;
  /** The most at once in each step of time, newest last. */
  #peaks: { readonly step: number; peak: number }[] = [];

  /** A function that was just registered or changed counts as called. */
  constructor(now: number) {
    this.#rateAt = now;
    this.#lastCall = now;
  }

  get lastCall(): number {
    return this.#lastCall;
  }

  /** A change of the function, which counts as a call. */
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
    this.#peaks = this.#peaks.filter((entry) => entry.step > step - PEAK_STEPS);
    const last = this.#peaks.at(-1);
    if (last?.step === step) last.peak = Math.max(last.peak, this.#inFlight);
    else this.#peaks.push({ step, peak: this.#inFlight });
  }
}
