import type { Invocation } from "../../../domain/calls/invocations.ts";
import { furthest } from "../../../domain/time/set-back.ts";
import { type KeyName, sizeOf } from "../../ledger-rules.ts";
import type { StoredAnswer } from "../../ledger.ts";
import type { Statements } from "../client/client.ts";

/** A submission that came with an Idempotency-Key, as its row. */
export interface IdempotencyRow extends KeyName {
  /** Distinguishes requests that came with the same key. */
  readonly request_hash: string;
  readonly invocation_id: string;
  /** Milliseconds since the epoch. */
  readonly created_at: number;
}

interface AnswerRow extends Pick<StoredAnswer, "response" | "response_meta"> {
  readonly record: string;
}

/** The most keys that are removed at once. */
const BATCH = 500;

const NAMED = "function_id = $function_id and owner = $owner and key = $key";

/** The keys of submissions that were made, the only place of their SQL. */
export const idempotencyKeys = {
  /** Keeps a key if it is not known; returns whether that was so. Of two transactions the second waits for the first. */
  async insert(statements: Statements, row: IdempotencyRow): Promise<boolean> {
    const inserted = await statements.run(
      `insert into idempotency_keys (function_id, owner, key, request_hash, invocation_id, created_at)
       values ($function_id, $owner, $key, $request_hash, $invocation_id, $created_at::bigint)
       on conflict (function_id, owner, key) do nothing`,
      { ...row },
    );
    return inserted > 0;
  },

  /** Returns a key, which nobody else can change until this transaction ends. */
  get(statements: Statements, name: KeyName): Promise<IdempotencyRow | undefined> {
    return statements.get<IdempotencyRow>(`select * from idempotency_keys where ${NAMED} for update`, { ...name });
  },

  /** Removes a key, with its answer, if it is still that of this invocation. */
  async remove(statements: Statements, key: KeyName & Pick<IdempotencyRow, "invocation_id">): Promise<void> {
    await statements.run(`delete from idempotency_keys where ${NAMED} and invocation_id = $invocation_id`, { ...key });
  },

  /** Returns what the first request with a key was answered, by the id of its invocation. */
  async answer(statements: Statements, invocation_id: string): Promise<StoredAnswer | undefined> {
    const row = await statements.get<AnswerRow>(
      "select record, response_meta, response from stored_answers where invocation_id = $invocation_id",
      { invocation_id },
    );
    if (row === undefined) return undefined;
    const { record, response, response_meta } = row;
    return { invocation: JSON.parse(record) as Invocation, response, response_meta }; // `insertAnswer` wrote it
  },

  async insertAnswer(statements: Statements, { invocation, response, response_meta }: StoredAnswer): Promise<void> {
    const record = JSON.stringify(invocation);
    const bytes = record.length + sizeOf({ response, response_meta });
    await statements.run(
      `insert into stored_answers (invocation_id, record, response_meta, response, bytes)
       values ($invocation_id, $record, $response_meta, $response, $bytes::bigint)`,
      { invocation_id: invocation.id, record, response_meta, response, bytes },
    );
  },

  /** Writes an answer in place of what is kept; nothing if its key was forgotten since. */
  async replaceAnswer(statements: Statements, { invocation, response, response_meta }: StoredAnswer): Promise<void> {
    const record = JSON.stringify(invocation);
    await statements.run(
      `update stored_answers set record = $record, response_meta = $response_meta, response = $response,
         bytes = $bytes::bigint where invocation_id = $invocation_id`,
      {
        invocation_id: invocation.id,
        record,
        response_meta,
        response,
        bytes: record.length + sizeOf({ response, response_meta }),
      },
    );
  },

  /** Makes keys as old as now that a clock that was ahead has kept, at most a batch; returns how many. */
  takeBack(statements: Statements, now: number): Promise<number> {
    return statements.run(
      `with batch as materialized (
         select function_id, owner, key from idempotency_keys where created_at > $furthest::bigint limit ${BATCH})
       update idempotency_keys as kept set created_at = $now::bigint from batch
       where kept.function_id = batch.function_id and kept.owner = batch.owner and kept.key = batch.key`,
      { now, furthest: furthest(now) },
    );
  },

  /** Removes keys from before that moment, at most a batch; returns how many. */
  prune(statements: Statements, before: number): Promise<number> {
    return statements.run(
      `with batch as materialized (
         select function_id, owner, key from idempotency_keys where created_at < $before::bigint
         order by created_at limit ${BATCH})
       delete from idempotency_keys as kept using batch
       where kept.function_id = batch.function_id and kept.owner = batch.owner and kept.key = batch.key`,
      { before },
    );
  },
} as const;
