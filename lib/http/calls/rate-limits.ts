import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import type { RateLimit } from "../../domain/routes/options.ts";
import type { Route } from "../../domain/routes/routes.ts";
import { shareOf, TokenBuckets } from "../access/token-buckets.ts";

/** Buckets that are remembered; each takes about 450 bytes. */
const BUCKETS = 20_000;
/** The part of a token that rounding may lose. A caller that waits as long as it was told must not be refused again. */
const ROUNDING = 1e-6;

/** A caller's standing with a route's limit, after its request was counted. */
export interface Standing {
  readonly limit: RateLimit;
  /** True if the request was within the limit; one that was not cost nothing. */
  readonly within: boolean;
  /** Requests that may follow immediately. */
  readonly left: number;
  /** Whole seconds until there is one more. */
  readonly wait_s: number;
}

/**
 * Counts requests to routes with a rate limit, in memory. Of several servers, each accepts its share: they do not know of each other's
 * requests, which a load balancer spreads over all.
 */
export class RateLimits {
  readonly #buckets: TokenBuckets;
  readonly #serverCount: () => number;

  /** `serverCount` returns the number of servers that share each limit. */
  constructor(clock: Pick<Clock, "monotonic">, serverCount: () => number = () => 1) {
    this.#buckets = new TokenBuckets({ clock, max: BUCKETS });
    this.#serverCount = serverCount;
  }

  /** Counts a request. `caller` is any name that distinguishes callers. */
  count({ id, rate_limit }: Pick<Route, "id"> & { readonly rate_limit: RateLimit }, caller: string): Standing {
    const size = shareOf({ tokens: rate_limit.requests, window_ms: rate_limit.window_ms }, this.#serverCount());
    const key = `${id} ${caller}`;
    const before = this.#buckets.left(key, size) + ROUNDING;
    const within = before >= 1;
    const tokens = within ? this.#buckets.spend(key, size) + ROUNDING : before;
    const left = Math.max(0, Math.floor(tokens));
    const wait_s = Math.ceil(((left + 1 - tokens) * size.window_ms) / size.tokens / 1_000);
    return { limit: rate_limit, within, left, wait_s: Math.max(1, wait_s) };
  }
}

/** Returns the error for a request beyond the limit. */
export function beyondLimit({ limit, wait_s }: Standing): AppError {
  const { requests, window_ms, by } = limit;
  return new AppError(
    "too_many_requests",
    `Too many requests: this route accepts ${requests} in ${window_ms / 1_000} s from each ${by}, try again in ${wait_s} s`,
    { retry_after_s: wait_s },
  );
}

/**
 * Sets the headers with a caller's standing (draft-ietf-httpapi-ratelimit-headers-11). `t` is the time until there is one
 * more request than `r`: a token bucket has no other reset, and `Retry-After` must not be earlier.
 */
export function setRateLimit(headers: Headers, { limit, left, wait_s }: Standing): void {
  headers.set("RateLimit-Policy", `"default";q=${limit.requests};w=${Math.ceil(limit.window_ms / 1_000)}`);
  headers.set("RateLimit", `"default";r=${left};t=${wait_s}`);
}
