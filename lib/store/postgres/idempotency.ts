import { keyTime } from "../../domain/calls/idempotency.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { IDEMPOTENCY } from "../../domain/limits.ts";
import { keyMismatch, keyName } from "../ledger-rules.ts";
import type { IdempotencyKey, StoredAnswer } from "../ledger.ts";
import type { Statements } from "./client/client.ts";
import { idempotencyKeys } from "./tables/idempotency-keys.ts";
import type { InvocationTable } from "./tables/invocations.ts";
import type { PayloadTable } from "./tables/payloads.ts";

/** Keys of requests, and what the first request with each was answered. The methods are part of the caller's transaction. */
export class IdempotencyRecords {
  readonly #invocations: InvocationTable;
  readonly #payloads: PayloadTable;

  constructor(invocations: InvocationTable, payloads: PayloadTable) {
    this.#invocations = invocations;
    this.#payloads = payloads;
  }

  /** Like that of SQLite. Of two first requests at once, the second waits until the first is written. */
  async first(statements: Statements, invocation: Invocation, key: IdempotencyKey): Promise<StoredAnswer | undefined> {
    const name = keyName(invocation, key);
    const { request_hash, now } = key;
    const row = { ...name, request_hash, invocation_id: invocation.id, created_at: keyTime(key) };
    // Again after each removal of a key that has expired: another request may have been faster.
    while (!(await idempotencyKeys.insert(statements, row))) {
      const known = await idempotencyKeys.get(statements, name);
      const isValid = known !== undefined && known.created_at >= now - IDEMPOTENCY.ttl_ms;
      const found = isValid ? await this.#answerOf(statements, known.invocation_id) : undefined;
      if (known !== undefined && found !== undefined) {
        if (known.request_hash === request_hash) return found;
        throw keyMismatch(key);
      }
      if (known !== undefined) await idempotencyKeys.remove(statements, known);
    }
    await idempotencyKeys.insertAnswer(statements, { invocation, response: null, response_meta: null });
    return undefined;
  }

  /** Keeps the answer to the first request with a key, if the budget has room for it and the key is still known. */
  async answer(statements: Statements, answer: StoredAnswer): Promise<void> {
    const hasRoom = await this.#payloads.makeRoom(statements, answer.response?.length ?? 0);
    await idempotencyKeys.replaceAnswer(statements, hasRoom ? answer : { ...answer, response: null });
  }

  /** Forgets a key whose call was not made, so that the next request with it is the first one. */
  async forget(statements: Statements, invocation: Invocation, key: IdempotencyKey): Promise<void> {
    await idempotencyKeys.remove(statements, { ...keyName(invocation, key), invocation_id: invocation.id });
  }

  /** Returns an answer with the record as it is now, or, if that was removed since, as it was then. */
  async #answerOf(statements: Statements, id: string): Promise<StoredAnswer | undefined> {
    const stored = await idempotencyKeys.answer(statements, id);
    const isQueued = stored === undefined || stored.invocation.mode === "async";
    const invocation = isQueued ? await this.#invocations.get(statements, id) : undefined;
    if (invocation === undefined) return stored;
    return { response: null, response_meta: null, ...stored, invocation };
  }
}
