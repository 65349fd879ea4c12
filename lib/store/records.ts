import type { Key } from "../domain/keys.ts";
import type { Registry } from "../domain/images/registries.ts";
import type { Secret } from "../domain/secrets.ts";
import type { Invocation, LogEntry } from "../domain/calls/invocations.ts";

/** The request of an invocation and its result, as far as they are kept. */
export interface Payload {
  readonly invocation_id: string;
  readonly request: Uint8Array;
  /** The rest of the request as JSON: method, url, headers, via. Null for JSON that no HTTP request brought. */
  readonly request_meta: string | null;
  /** The body of the answer; null until there is one. */
  readonly response: Uint8Array | null;
  /** The rest of the answer as JSON: status, headers. Null like `response`. */
  readonly response_meta: string | null;
}

/** The work that is left to do for an asynchronous invocation. */
export interface Work {
  readonly invocation_id: string;
  readonly function_id: string;
  /** `waiting` until it is due, then `ready`; `leased` while an attempt is made; `lost` if its server ended meanwhile. */
  readonly state: "waiting" | "ready" | "leased" | "lost";
  readonly priority: number;
  /** The earliest time of the next attempt, in milliseconds since the epoch. */
  readonly due: number;
  /** Attempts that were begun, lost ones included. */
  readonly attempts: number;
  readonly lost_attempts: number;
  /** The time until which nobody else may attempt it, if it is held; in milliseconds since the epoch. */
  readonly lease_until: number | null;
  /**
   * The time at which the wait for the next attempt began, in milliseconds since the epoch; null if it does not wait, or
   * for a moment that its caller named.
   */
  readonly waits_since: number | null;
}

/** A function that has work to do now, and the highest priority of it. */
export interface ReadyWork {
  readonly function_id: string;
  readonly priority: number;
}

/** An invocation to be written, with its logs once they are known. */
export interface SavedInvocation {
  readonly invocation: Invocation;
  readonly logs?: readonly LogEntry[];
  /** Its request and result, if they are kept. */
  readonly payload?: Payload;
}

/**
 * The records to remove: those that ended before `before` (milliseconds since the epoch), and all but the `keep` that ended last.
 * Records of unfinished work do not count.
 */
export interface Pruning {
  readonly before: number;
  readonly keep: number;
  /** The most that are removed at once. */
  readonly batch: number;
}

/** A key and the hash of its token: SHA-256, in hex. */
export interface StoredKey {
  readonly key: Key;
  readonly hash: string;
}

/** A secret whose value is sealed; `bytes` is the size of the value in the clear. */
export type SealedSecret = Omit<Secret, "used_by"> & { readonly value: string; readonly bytes: number };

/** The credentials of a registry, whose secret is sealed. */
export type SealedRegistry = Registry & { readonly secret: string };

/** A function that uses a secret. */
export type SecretUser = Secret["used_by"][number];

/** A record before and after a change. */
export interface Changed<T> {
  readonly before: T;
  readonly after: T;
}
