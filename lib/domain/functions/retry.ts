import { Type, type Static } from "@sinclair/typebox";
import type { Reason } from "../errors.ts";
import { RETRY_ATTEMPTS, RETRY_DELAY_MS } from "../limits.ts";

/** Why an attempt may be worth another one. */
export const RETRY_CAUSES = ["crash", "timeout", "non_zero_exit", "oom", "engine"] as const;
export type RetryCause = (typeof RETRY_CAUSES)[number];

/** How often an asynchronous invocation is tried, when, and after what. */
export const Retry = Type.Object(
  {
    max_attempts: Type.Integer({
      minimum: 1,
      maximum: RETRY_ATTEMPTS.max,
      description:
        "Attempts at most, the first one among them. Those that were lost with the server or the engine do not count.",
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
        "The longest wait before the next attempt, in milliseconds. Waits double up to it, and are drawn from `min_ms` on.",
      examples: [RETRY_DELAY_MS.max_default],
    }),
    on: Type.Array(Type.Unsafe<RetryCause>(Type.Union(RETRY_CAUSES.map((cause) => Type.Literal(cause)))), {
      uniqueItems: true,
      maxItems: RETRY_CAUSES.length,
      description:
        "What is tried again: `crash` (the container was lost), `timeout`, `non_zero_exit`, `oom` (out of memory), `engine` (it could not be started).",
      examples: [[...RETRY_CAUSES]],
    }),
  },
  { additionalProperties: false, description: "How asynchronous invocations that fail are tried again." },
);
export type Retry = Static<typeof Retry>;

/** Three attempts, with waits of up to 1 and 2 seconds, after everything that another attempt may mend. */
export const RETRY_DEFAULT: Retry = {
  max_attempts: RETRY_ATTEMPTS.default,
  min_ms: RETRY_DELAY_MS.min_default,
  max_ms: RETRY_DELAY_MS.max_default,
  on: [...RETRY_CAUSES],
};

const CAUSE_OF: Partial<Record<Reason, RetryCause>> = {
  instance_lost: "crash",
  internal: "engine",
  function_timeout: "timeout",
  function_failed: "non_zero_exit",
  out_of_memory: "oom",
  engine_unavailable: "engine",
  image_unavailable: "engine",
};

/** What an attempt that failed for this reason is to a `Retry`; nothing where another one would end just so. */
export function retryCause(reason: Reason | null): RetryCause | undefined {
  return reason === null ? undefined : CAUSE_OF[reason];
}

/** What a function said of another attempt in its response.meta.json. */
export interface RetryWish {
  readonly retry?: boolean;
  readonly retry_after_ms?: number;
}

/** What an attempt that failed leaves to do: nothing more, or another attempt after so many milliseconds. */
export type Verdict = { readonly retry: false } | { readonly retry: true; readonly after_ms: number };

/**
 * Judges a failed attempt. `attempts` have counted so far, this one among them; `random` is from [0, 1). A function that
 * says no is believed; one that says when is believed within the longest wait that any function may have.
 */
export function judgeRetry(
  { max_attempts, on, ...delays }: Retry,
  failed: { readonly reason: Reason | null; readonly attempts: number; readonly wish?: RetryWish },
  random: number,
): Verdict {
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
 * Exponential backoff with full jitter: between `min_ms` and `min_ms` doubled for each attempt before this one, at most
 * `max_ms`; drawn evenly, so that what failed together does not come back together.
 */
export function backoff(
  { min_ms, max_ms }: Pick<Retry, "min_ms" | "max_ms">,
  attempts: number,
  random: number,
): number {
  // 2^40 ms are 35 years: enough doubling for any bound, and far from what a double cannot hold.
  const most = Math.max(min_ms, Math.min(max_ms, Math.max(min_ms, 1) * 2 ** Math.min(attempts, 40)));
  return Math.round(min_ms + random * (most - min_ms));
}
