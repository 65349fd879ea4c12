import { AUDIT_EVENTS, type AuditEntry, type AuditPage, type AuditQuery } from "../../domain/audit.ts";
import { timestamp } from "../../domain/types.ts";
import type { AuditLog, AuditRetention } from "../audit.ts";
import type { Database, Statement } from "./database/database.ts";

const COLUMNS = ["at", "event", "key_id", "address", "method", "path", "status"] as const;

/** The audit log, the only place of its SQL. */
export class AuditTable implements AuditLog {
  readonly #database: Database;
  readonly #insert: Statement<never>;
  readonly #list: Statement<AuditEntry>;
  readonly #prune: Statement<never>;

  constructor(database: Database) {
    this.#database = database;
    this.#insert = database.prepare(
      `insert into audit (${COLUMNS.join()}) values (${COLUMNS.map((column) => `$${column}`).join()})`,
    );
    this.#list = database.prepare(
      `select id, ${COLUMNS.join()} from audit
       where id < $before and ($event is null or event = $event) and ($key_id is null or key_id = $key_id)
       order by id desc limit $count`,
    );
    this.#prune = database.prepare(
      `delete from audit where id in (
         select id from audit where event = $event and (at < $before or id <= coalesce(
           (select id from audit where event = $event order by id desc limit 1 offset $keep), 0))
         order by id limit $batch)`,
    );
  }

  async append(entries: readonly Omit<AuditEntry, "id">[]): Promise<void> {
    await this.#database.fast(() => {
      for (const entry of entries) this.#insert.run({ ...entry });
    });
  }

  async list({ event, key_id, before, limit }: AuditQuery): Promise<AuditPage> {
    // One more than asked for, to see whether there is a next page.
    const rows = this.#list.all({ event, key_id, before, count: limit + 1 });
    const entries = rows.slice(0, limit);
    const last = rows.length > limit ? entries.at(-1) : undefined;
    return { entries, next_cursor: last === undefined ? null : String(last.id) };
  }

  async prune({ before, keep, batch }: AuditRetention): Promise<number> {
    return this.#database.fast(() =>
      AUDIT_EVENTS.reduce(
        (sum, event) => sum + this.#prune.run({ event, before: timestamp(before), keep: keep[event], batch }),
        0,
      ),
    );
  }
}
