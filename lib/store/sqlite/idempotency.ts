import { keyTime } from "../../domain/calls/idempotency.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { IDEMPOTENCY } from "../../domain/limits.ts";
import { keyMismatch, keyName, type KeyName } from "../ledger-rules.ts";
import type { IdempotencyKey, StoredAnswer } from "../ledger.ts";
import type { Tables } from "./tables.ts";

/** Keys of requests, and what the first request with each was answered. The methods are part of the caller's transaction. */
export class IdempotencyRecords {
  readonly #tables: Pick<Tables, "idempotencyKeys" | "invocations" | "payloads">;

  constructor(tables: Pick<Tables, "idempotencyKeys" | "invocations" | "payloads">) {
    this.#tables = tables;
  }

  /**
   * Returns what the first request with a key was answered so far; undefined if this is the first one, whose key is kept
   * from now on. Throws `idempotency_mismatch` if the first request was another one.
   */
  first(invocation: Invocation, key: IdempotencyKey): StoredAnswer | undefined {
    const { idempotencyKeys } = this.#tables;
    const name = keyName(invocation, key);
    const known = idempotencyKeys.get(name);
    const isValid = known !== undefined && known.created_at >= key.now - IDEMPOTENCY.ttl_ms;
    const found = isValid ? this.#answerOf(known.invocation_id) : undefined;
    if (known === undefined || found === undefined) {
      this.#keep(name, invocation, key);
      return undefined;
    }
    if (known.request_hash === key.request_hash) return found;
    throw keyMismatch(key);
  }

  /** Keeps the answer to the first request with a key, if the budget has room for it and the key is still known. */
  answer(answer: StoredAnswer): void {
    const { idempotencyKeys, payloads } = this.#tables;
    const kept = payloads.makeRoom(answer.response?.length ?? 0) ? answer : { ...answer, response: null };
    idempotencyKeys.replaceAnswer(kept);
  }

  /** Forgets a key whose call was not made, so that the next request with it is the first one. */
  forget(invocation: Invocation, key: IdempotencyKey): void {
    this.#tables.idempotencyKeys.remove({ ...keyName(invocation, key), invocation_id: invocation.id });
  }

  /** Returns an answer with the record as it is now, or, if that was removed since, as it was then. */
  #answerOf(id: string): StoredAnswer | undefined {
    const { idempotencyKeys, invocations } = this.#tables;
    const stored = idempotencyKeys.answer(id);
    const isQueued = stored === undefined || stored.invocation.mode === "async";
    const invocation = isQueued ? invocations.get(id) : undefined;
    if (invocation === undefined) return stored;
    return { response: null, response_meta: null, ...stored, invocation };
  }

  #keep(name: KeyName, invocation: Invocation, key: IdempotencyKey): void {
    const { idempotencyKeys } = this.#tables;
    const { request_hash } = key;
    idempotencyKeys.put({ ...name, request_hash, invocation_id: invocation.id, created_at: keyTime(key) });
    idempotencyKeys.insertAnswer({ invocation, response: null, response_meta: null });
  }
}
