import { Type, type Static } from "@sinclair/typebox";
import type { Reason } from "../errors.ts";
import { RETRY_ATTEMPTS, RETRY_DELAY_MS } from "../limits.ts";
import { Enum } from "../types.ts";

/** The kinds of failure after which an invocation can be retried. */
export const RETRY_CAUSES = ["crash", "timeout", "non_zero_exit", "oom", "engine"] as const;
export type RetryCause = (typeof RETRY_CAUSES)[number];

/** The rules for attempts at an asynchronous invocation: how many, when, and after which failures. */
export const Retry = Type.Object(
  {
    max_attempts: Type.Integer({
      minimum: 1,
      maximum: RETRY_ATTEMPTS.max,
      description:
        "The most attempts, the first one included. Attempts that were lost with the server or the engine do not count.",
      examples: [RETRY_ATTEMPTS.default],
    }),
    min_ms: Type.Integer({
      minimum: 0,
      maximum: RETRY_DELAY_MS.max,
      description: "The shortest wait before the next attempt, in milliseconds.",
      examples: [RETRY_DELAY_MS.min_default],
    }),
    max_ms: Type.Integer({
      minimum: 0,
      maximum: RETRY_DELAY_MS.max,
      description:
        "The longest wait before the next attempt, in milliseconds. The limit doubles with each attempt up to this; each wait is random between `min_ms` and the limit.",
      examples: [RETRY_DELAY_MS.max_default],
    }),
    on: Type.Array(Enum(RETRY_CAUSES), {
      uniqueItems: true,
      maxItems: RETRY_CAUSES.length,
      description:
        "The failures that are retried: `crash` (the container was lost), `timeout`, `non_zero_exit`, `oom` (out of memory), `engine` (it could not be started).",
      examples: [[...RETRY_CAUSES]],
    }),
  },
  { additionalProperties: false, description: "How failed asynchronous invocations are retried." },
);
export type Retry = Static<typeof Retry>;

/** The same as a request gives it: fields that are left out have their defaults. */
export const GivenRetry = Type.Partial(Retry, {
  additionalProperties: false,
  description: "How failed asynchronous invocations are retried; fields that are left out have their defaults.",
});
export type GivenRetry = Static<typeof GivenRetry>;

/** Three attempts, with waits of up to 1 and 2 seconds, after each failure that a retry may fix. */
export const RETRY_DEFAULT: Retry = {
  max_attempts: RETRY_ATTEMPTS.default,
  min_ms: RETRY_DELAY_MS.min_default,
  max_ms: RETRY_DELAY_MS.max_default,
  on: [...RETRY_CAUSES],
};

const CAUSE_OF: Partial<Record<Reason, RetryCause>> = {
  instance_lost: "crash",
  boot_failed: "crash",
  internal: "engine",
  function_timeout: "timeout",
  boot_timeout: "timeout",
  function_failed: "non_zero_exit",
  out_of_memory: "oom",
  engine_unavailable: "engine",
  image_unavailable: "engine",
  isolation_unavailable: "engine",
};

/** Returns the cause that a reason counts as; undefined if a retry would end the same way. */
export function retryCause(reason: Reason | null): RetryCause | undefined {
  return reason === null ? undefined : CAUSE_OF[reason];
}

/** The retry that a function asks for in its response.meta.json. */
export interface RetryWish {
  readonly retry?: boolean;
  readonly retry_after_ms?: number;
}

/** The decision after a failed attempt: no retry, or one after so many milliseconds. */
type RetryDecision = { readonly retry: false } | { readonly retry: true; readonly after_ms: number };

/**
 * Decides whether to retry after a failed attempt. `attempts` is the number that counted so far, this one included;
 * `random` is from [0, 1). The function's own wish takes precedence, with a wait of at most the longest that any may have.
 */
export function judgeRetry(
  { max_attempts, on, ...delays }: Retry,
  failed: { readonly reason: Reason | null; readonly attempts: number; readonly wish?: RetryWish },
  random: number,
): RetryDecision {
  const { reason, attempts, wish } = failed;
  const cause = retryCause(reason);
  if (attempts >= max_attempts || wish?.retry === false) return { retry: false };
  if (wish?.retry !== true && wish?.retry_after_ms === undefined && (cause === undefined || !on.includes(cause)))
    return { retry: false };
  const after_ms =
    wish?.retry_after_ms === undefined
      ? backoff(delays, attempts, random)
      : Math.min(wish.retry_after_ms, RETRY_DELAY_MS.max);
  return { retry: true, after_ms };
}

/**
 * Returns a wait by exponential backoff with full jitter: between `min_ms` and `min_ms` doubled for each earlier attempt,
 * at most `max_ms`, drawn evenly so that calls that failed together do not retry together.
 */
export function backoff(
  { min_ms, max_ms }: Pick<Retry, "min_ms" | "max_ms">,
  attempts: number,
  random: number,
): number {
  // 2^40 ms are 35 years: enough for any limit, and exact in a double.
  const most = Math.max(min_ms, Math.min(max_ms, Math.max(min_ms, 1) * 2 ** Math.min(attempts, 40)));
  return Math.round(min_ms + random * (most - min_ms));
}
