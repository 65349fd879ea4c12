import { Attempt } from "../../../domain/calls/attempts.ts";
import type { LogEntry } from "../../../domain/calls/invocations.ts";
import type { Database, Statement } from "../database/database.ts";
import { fromJson } from "../database/json.ts";

/** The columns are the record's fields. */
const COLUMNS: readonly string[] = Object.keys(Attempt.properties);

/** Attempts at asynchronous invocations, the only place of their SQL. The methods are part of the caller's transaction. */
export class AttemptTable {
  readonly #save: Statement<never>;
  readonly #remove: Statement<never>;
  readonly #list: Statement<Attempt>;
  readonly #logs: Statement<{ logs: string | null }>;

  constructor(database: Database) {
    this.#save = database.prepare(
      `insert into attempts (invocation_id, ${COLUMNS.join()}, logs)
       values ($invocation_id, ${COLUMNS.map((column) => `$${column}`).join()}, $logs)
       on conflict (invocation_id, attempt) do update set
         ${COLUMNS.filter((column) => column !== "attempt")
           .map((column) => `${column} = excluded.${column}`)
           .join()}, logs = coalesce(excluded.logs, logs)`,
    );
    this.#remove = database.prepare("delete from attempts where invocation_id = $invocation_id and attempt = $attempt");
    this.#list = database.prepare(
      `select ${COLUMNS.join()} from attempts where invocation_id = $invocation_id order by attempt`,
    );
    this.#logs = database.prepare(
      "select logs from attempts where invocation_id = $invocation_id and attempt = $attempt",
    );
  }

  /** Writes an attempt, new or known; without logs it keeps those that it had. */
  save(invocation_id: string, attempt: Attempt, logs?: readonly LogEntry[]): void {
    this.#save.run({ ...attempt, invocation_id, logs: logs === undefined ? null : JSON.stringify(logs) });
  }

  /** Forgets an attempt that never began. */
  remove(invocation_id: string, attempt: number): void {
    this.#remove.run({ invocation_id, attempt });
  }

  get(invocation_id: string, attempt: number): Attempt | undefined {
    return this.list(invocation_id).find((one) => one.attempt === attempt);
  }

  /** Lists all attempts at an invocation, the first one first. */
  list(invocation_id: string): Attempt[] {
    return this.#list.all({ invocation_id });
  }

  /** Returns the function's output in an attempt; undefined if there was no such attempt. */
  logs(invocation_id: string, attempt: number): LogEntry[] | undefined {
    const found = this.#logs.get({ invocation_id, attempt });
    return found && (found.logs === null ? [] : fromJson<LogEntry[]>(found.logs));
  }
}
