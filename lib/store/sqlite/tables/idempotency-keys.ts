import type { Database, Statement } from "../database/database.ts";

/** A submission that came with an Idempotency-Key. */
export interface IdempotencyKey {
  readonly function_id: string;
  readonly key: string;
  /** Tells requests apart that came with the same key. */
  readonly request_hash: string;
  readonly invocation_id: string;
  /** Milliseconds since the epoch. */
  readonly created_at: number;
}

/** Keys are let go at most so many at once: a millisecond or two of the event loop. */
const BATCH = 500;

/** Which submissions were made already, the only place of their SQL. The methods are part of the caller's transaction. */
export class IdempotencyKeyStore {
  readonly #get: Statement<IdempotencyKey>;
  readonly #put: Statement<never>;
  readonly #prune: Statement<never>;

  constructor(database: Database) {
    this.#get = database.prepare("select * from idempotency_keys where function_id = $function_id and key = $key");
    this.#put = database.prepare(
      `insert or replace into idempotency_keys (function_id, key, request_hash, invocation_id, created_at)
       values ($function_id, $key, $request_hash, $invocation_id, $created_at)`,
    );
    this.#prune = database.prepare(
      `delete from idempotency_keys where (function_id, key) in (
         select function_id, key from idempotency_keys where created_at < $before order by created_at limit ${BATCH})`,
    );
  }

  get(function_id: string, key: string): IdempotencyKey | undefined {
    return this.#get.get({ function_id, key });
  }

  /** Keeps a key; one that has run out makes room for it. */
  put(key: IdempotencyKey): void {
    this.#put.run({ ...key });
  }

  /** Lets go of keys from before that moment, at most a batch; returns how many. */
  prune(before: number): number {
    return this.#prune.run({ before });
  }
}
