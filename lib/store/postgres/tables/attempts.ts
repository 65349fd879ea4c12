import type { Attempt } from "../../../domain/calls/attempts.ts";
import type { LogEntry } from "../../../domain/calls/invocations.ts";
import type { AttemptId } from "../../ledger.ts";
import type { Statements } from "../client/client.ts";

interface Row {
  readonly record: string;
}

/** Attempts at asynchronous invocations, the only place of their SQL. */
export const attempts = {
  /** Writes an attempt, new or known; without logs it keeps those that it had. */
  async save(
    statements: Statements,
    invocation_id: string,
    attempt: Attempt,
    logs?: readonly LogEntry[],
  ): Promise<void> {
    await statements.run(
      `insert into attempts (invocation_id, attempt, record, logs) values ($invocation_id, $attempt::integer, $record, $logs)
       on conflict (invocation_id, attempt) do update set record = excluded.record,
         logs = coalesce(excluded.logs, attempts.logs)`,
      {
        invocation_id,
        attempt: attempt.attempt,
        record: JSON.stringify(attempt),
        logs: logs === undefined ? null : JSON.stringify(logs),
      },
    );
  },

  /** Writes attempts that begin, each at an invocation. */
  async begin(
    statements: Statements,
    begun: readonly { readonly invocation_id: string; readonly attempt: Attempt }[],
  ): Promise<void> {
    const rows = begun.map(({ invocation_id, attempt }) => ({
      invocation_id,
      attempt: attempt.attempt,
      record: JSON.stringify(attempt),
    }));
    await statements.run(
      `insert into attempts (invocation_id, attempt, record)
       select * from json_to_recordset($rows::text::json) as row (invocation_id text, attempt integer, record text)
       on conflict (invocation_id, attempt) do update set record = excluded.record`,
      { rows: JSON.stringify(rows) },
    );
  },

  /** Forgets attempts that never began. */
  async forget(statements: Statements, forgotten: readonly AttemptId[]): Promise<void> {
    await statements.run(
      `delete from attempts using json_to_recordset($forgotten::text::json) as those (invocation_id text, attempt integer)
       where attempts.invocation_id = those.invocation_id and attempts.attempt = those.attempt`,
      { forgotten: JSON.stringify(forgotten) },
    );
  },

  async get(statements: Statements, invocation_id: string, attempt: number): Promise<Attempt | undefined> {
    const sql = "select record from attempts where invocation_id = $invocation_id and attempt = $attempt::integer";
    const row = await statements.get<Row>(sql, { invocation_id, attempt });
    return row && attemptOf(row);
  },

  /** Lists all attempts at an invocation, the first one first. */
  async list(statements: Statements, invocation_id: string): Promise<Attempt[]> {
    const sql = "select record from attempts where invocation_id = $invocation_id order by attempt";
    return (await statements.all<Row>(sql, { invocation_id })).map(attemptOf);
  },

  /** Returns the function's output in an attempt; undefined if there was no such attempt. */
  async logs(statements: Statements, invocation_id: string, attempt: number): Promise<LogEntry[] | undefined> {
    const sql = "select logs from attempts where invocation_id = $invocation_id and attempt = $attempt::integer";
    const row = await statements.get<{ logs: string | null }>(sql, { invocation_id, attempt });
    return row && (JSON.parse(row.logs ?? "[]") as LogEntry[]); // `save` wrote it
  },
} as const;

function attemptOf({ record }: Row): Attempt {
  return JSON.parse(record) as Attempt; // `save` wrote it
}
