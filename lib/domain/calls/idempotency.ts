import { isCredential } from "./headers.ts";
import { IDEMPOTENCY } from "../limits.ts";
import type { BufferedRequest } from "./http-message.ts";

/** The identity of a request that came with an Idempotency-Key. */
export interface IdempotentRequest {
  readonly key: string;
  /** SHA-256 of method, path, query and body, and of the host of a route that has one, in hex: a key is for one request. */
  readonly request_hash: string;
  /** Distinguishes the callers of a public route; null if they are one. */
  readonly caller: string | null;
  /** The time that the key and the answer are kept, in milliseconds; `IDEMPOTENCY.ttl_ms` by default and at most. */
  readonly kept_ms?: number;
  /** True if the call is made without its key while that cannot be kept: its sender has asked for none. */
  readonly is_optional?: true;
}

/** Returns the time from which the age of a key counts: all are kept for the same time, so one that is to go sooner is an older one. */
export function keyTime({
  now,
  kept_ms = IDEMPOTENCY.ttl_ms,
}: {
  readonly now: number;
  readonly kept_ms?: number;
}): number {
  return now - Math.max(0, IDEMPOTENCY.ttl_ms - kept_ms);
}

/**
 * Returns the identity of a request. On a public route a key belongs to the callers with the same credentials: a stranger
 * who guesses a key and a request must not get the answer that the function gave to someone whom it knows.
 */
export function idempotentRequest(key: string, request: BufferedRequest, isPublic: boolean): IdempotentRequest {
  const { method, url, body, via } = request;
  const request_hash = new Bun.CryptoHasher("sha256")
    .update(`${method} ${via?.host ?? ""}${url}\n`)
    .update(body)
    .digest("hex");
  return { key, request_hash, caller: isPublic ? callerOf(request) : null };
}

function callerOf({ headers }: BufferedRequest): string | null {
  const credentials = Object.entries(headers).filter(([name]) => isCredential(name));
  if (credentials.length === 0) return null;
  const sorted = credentials.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return new Bun.CryptoHasher("sha256").update(JSON.stringify(sorted)).digest("hex");
}
