import { AUDIT_EVENTS, type AuditEntry, type AuditPage, type AuditQuery } from "../../domain/audit.ts";
import { timestamp } from "../../domain/types.ts";
import type { AuditLog, AuditRetention } from "../audit.ts";
import type { Client } from "./client/client.ts";

/** The audit log, the only place of its SQL. */
export class PostgresAudit implements AuditLog {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async append(entries: readonly Omit<AuditEntry, "id">[]): Promise<void> {
    if (entries.length === 0) return;
    await this.#client.transaction((transaction) =>
      transaction.run(
        `insert into audit (at, event, key_id, address, method, path, status)
         select at, event, key_id, address, method, path, status from json_to_recordset($entries::text::json)
           as entry (at text, event text, key_id text, address text, method text, path text, status integer)`,
        { entries: JSON.stringify(entries) },
      ),
    );
  }

  async list({ event, key_id, before, limit }: AuditQuery): Promise<AuditPage> {
    // One more than asked for, to see whether there is a next page.
    const rows = await this.#client.all<AuditEntry>(
      `select id, at, event, key_id, address, method, path, status from audit
       where id < $before::bigint and ($event::text is null or event = $event::text)
         and ($key_id::text is null or key_id = $key_id::text)
       order by id desc limit $count::bigint`,
      { event, key_id, before, count: limit + 1 },
    );
    const entries = rows.slice(0, limit);
    const last = rows.length > limit ? entries.at(-1) : undefined;
    return { entries, next_cursor: last === undefined ? null : String(last.id) };
  }

  async prune({ before, keep, batch }: AuditRetention): Promise<number> {
    let removed = 0;
    for (const event of AUDIT_EVENTS) {
      removed += await this.#client.run(
        `with batch as materialized (
           select id from audit where event = $event and (at < $before or id <= coalesce(
             (select id from audit where event = $event order by id desc limit 1 offset $keep::bigint), 0))
           order by id limit $batch::bigint)
         delete from audit using batch where audit.id = batch.id`,
        { event, before: timestamp(before), keep: keep[event], batch },
      );
    }
    return removed;
  }
}
