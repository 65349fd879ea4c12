import { furthest } from "../../../domain/time/set-back.ts";
import type { Database, Statement } from "../database/database.ts";

/** A submission that came with an Idempotency-Key, as its row. */
export interface IdempotencyRow {
  readonly function_id: string;
  /** The caller that the key belongs to (`idempotencyOwner`). */
  readonly owner: string;
  readonly key: string;
  /** Distinguishes requests that came with the same key. */
  readonly request_hash: string;
  readonly invocation_id: string;
  /** Milliseconds since the epoch. */
  readonly created_at: number;
}

/** The most keys that are removed at once: a millisecond or two of the event loop. */
const BATCH = 500;

/** The keys of submissions that were made, the only place of their SQL. The methods are part of the caller's transaction. */
export class IdempotencyKeyTable {
  readonly #get: Statement<IdempotencyRow>;
  readonly #put: Statement<never>;
  readonly #prune: Statement<never>;
  readonly #takeBack: Statement<never>;

  constructor(database: Database) {
    this.#get = database.prepare(
      "select * from idempotency_keys where function_id = $function_id and owner = $owner and key = $key",
    );
    this.#put = database.prepare(
      `insert or replace into idempotency_keys (function_id, owner, key, request_hash, invocation_id, created_at)
       values ($function_id, $owner, $key, $request_hash, $invocation_id, $created_at)`,
    );
    this.#prune = database.prepare(
      `delete from idempotency_keys where (function_id, owner, key) in (
         select function_id, owner, key from idempotency_keys where created_at < $before order by created_at limit ${BATCH})`,
    );
    this.#takeBack = database.prepare(
      `update idempotency_keys set created_at = $now where (function_id, owner, key) in (
         select function_id, owner, key from idempotency_keys where created_at > $furthest limit ${BATCH})`,
    );
  }

  get(key: Pick<IdempotencyRow, "function_id" | "owner" | "key">): IdempotencyRow | undefined {
    return this.#get.get({ ...key });
  }

  /** Keeps a key; it replaces one that has expired. */
  put(key: IdempotencyRow): void {
    this.#put.run({ ...key });
  }

  /** Makes keys as old as now that a clock that was ahead has kept, at most a batch; returns how many. */
  takeBack(now: number): number {
    return this.#takeBack.run({ now, furthest: furthest(now) });
  }

  /** Removes keys from before that moment, at most a batch; returns how many. */
  prune(before: number): number {
    return this.#prune.run({ before });
  }
}
