import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { RateLimit } from "../../domain/routes/options.ts";
import type { Route } from "../../domain/routes/routes.ts";
import { TokenBuckets } from "../access/token-buckets.ts";

/** Buckets that are remembered; each needs some 450 bytes. */
const BUCKETS = 20_000;
/** What arithmetic with fractions of tokens may lose: who waits as long as he was told is not sent away again. */
const ROUNDING = 1e-6;

/** Where a caller stands with a route's limit, after its request was counted. */
export interface Standing {
  readonly limit: RateLimit;
  /** Whether the request was within it; one that was not cost nothing. */
  readonly within: boolean;
  /** Requests that may follow at once. */
  readonly left: number;
  /** Until there is one more, in whole seconds. */
  readonly wait_s: number;
}

/** Counts the requests that callers make to routes with a rate limit. One for a server; what it knows ends with it. */
export class RateLimits {
  readonly #buckets: TokenBuckets;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#buckets = new TokenBuckets({ clock, max: BUCKETS });
  }

  /** Counts a request of a caller, whatever names it. */
  count({ id, rate_limit }: Pick<Route, "id"> & { readonly rate_limit: RateLimit }, caller: string): Standing {
    const size = { tokens: rate_limit.requests, window_ms: rate_limit.window_ms };
    const key = `${id} ${caller}`;
    const before = this.#buckets.left(key, size) + ROUNDING;
    const within = before >= 1;
    const tokens = within ? this.#buckets.spend(key, size) + ROUNDING : before;
    const left = Math.max(0, Math.floor(tokens));
    const wait_s = Math.ceil(((left + 1 - tokens) * size.window_ms) / size.tokens / 1_000);
    return { limit: rate_limit, within, left, wait_s: Math.max(1, wait_s) };
  }
}

/** The error for a request beyond the limit. */
export function beyondLimit({ limit, wait_s }: Standing): AppError {
  const { requests, window_ms, by } = limit;
  return new AppError(
    "too_many_requests",
    `Too many requests: this route takes ${requests} in ${window_ms / 1_000} s from each ${by}, try again in ${wait_s} s`,
    { retry_after_s: wait_s },
  );
}

/**
 * Tells a caller where it stands (draft-ietf-httpapi-ratelimit-headers-11). `t` is the time until there is one more
 * request than `r`: of a bucket that drips there is no other reset, and `Retry-After` must not be earlier.
 */
export function setRateLimit(headers: Headers, { limit, left, wait_s }: Standing): void {
  headers.set("RateLimit-Policy", `"default";q=${limit.requests};w=${Math.ceil(limit.window_ms / 1_000)}`);
  headers.set("RateLimit", `"default";r=${left};t=${wait_s}`);
}
