import { furthest } from "../../../domain/time/set-back.ts";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import type { StoredAnswer } from "../../ledger.ts";
import { type KeyName, sizeOf } from "../../ledger-rules.ts";
import { fromJson } from "../database/json.ts";
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

/** An answer as its row. */
interface AnswerRow extends Pick<StoredAnswer, "response" | "response_meta"> {
  readonly record: string;
}

/** The most keys that are removed at once: a millisecond or two of the event loop. */
const BATCH = 500;

/** The keys of submissions that were made, the only place of their SQL. The methods are part of the caller's transaction. */
export class IdempotencyKeyTable {
  readonly #get: Statement<IdempotencyRow>;
  readonly #put: Statement<never>;
  readonly #remove: Statement<never>;
  readonly #answer: Statement<AnswerRow>;
  readonly #insertAnswer: Statement<never>;
  readonly #removeAnswer: Statement<never>;
  readonly #prune: Statement<never>;
  readonly #takeBack: Statement<never>;

  constructor(database: Database) {
    this.#get = database.prepare(
      "select * from idempotency_keys where function_id = $function_id and owner = $owner and key = $key",
    );
    this.#put = database.prepare(
      `insert into idempotency_keys (function_id, owner, key, request_hash, invocation_id, created_at)
       values ($function_id, $owner, $key, $request_hash, $invocation_id, $created_at)`,
    );
    this.#remove = database.prepare(
      "delete from idempotency_keys where function_id = $function_id and owner = $owner and key = $key",
    );
    this.#answer = database.prepare(
      "select record, response_meta, response from stored_answers where invocation_id = $invocation_id",
    );
    this.#insertAnswer = database.prepare(
      `insert into stored_answers (invocation_id, record, response_meta, response, bytes)
       values ($invocation_id, $record, $response_meta, $response, $bytes)`,
    );
    this.#removeAnswer = database.prepare("delete from stored_answers where invocation_id = $invocation_id");
    this.#prune = database.prepare(
      `delete from idempotency_keys where (function_id, owner, key) in (
         select function_id, owner, key from idempotency_keys where created_at < $before order by created_at limit ${BATCH})`,
    );
    this.#takeBack = database.prepare(
      `update idempotency_keys set created_at = $now where (function_id, owner, key) in (
         select function_id, owner, key from idempotency_keys where created_at > $furthest limit ${BATCH})`,
    );
  }

  get(key: KeyName): IdempotencyRow | undefined {
    return this.#get.get({ ...key });
  }

  /** Keeps a key; it replaces one that has expired, with its answer. */
  put(row: IdempotencyRow): void {
    const { function_id, owner, key } = row;
    // Not "or replace", whose deletions no trigger sees: one removes the answer.
    this.#remove.run({ function_id, owner, key });
    this.#put.run({ ...row });
  }

  /** Removes a key, with its answer, if it is still that of this invocation. */
  remove({ invocation_id, ...name }: KeyName & Pick<IdempotencyRow, "invocation_id">): void {
    if (this.get(name)?.invocation_id === invocation_id) this.#remove.run({ ...name });
  }

  /** Returns what the first request with a key was answered, by the id of its invocation. */
  answer(invocation_id: string): StoredAnswer | undefined {
    const row = this.#answer.get({ invocation_id });
    return (
      row && { invocation: fromJson<Invocation>(row.record), response: row.response, response_meta: row.response_meta }
    );
  }

  insertAnswer({ invocation, response, response_meta }: StoredAnswer): void {
    const record = JSON.stringify(invocation);
    const bytes = record.length + sizeOf({ response, response_meta });
    this.#insertAnswer.run({ invocation_id: invocation.id, record, response_meta, response, bytes });
  }

  /** Writes an answer in place of what is kept; nothing if its key was forgotten since. */
  replaceAnswer(answer: StoredAnswer): void {
    const { id: invocation_id } = answer.invocation;
    if (this.#removeAnswer.run({ invocation_id }) > 0) this.insertAnswer(answer);
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
