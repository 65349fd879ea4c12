import { AppError } from "../../domain/errors.ts";
import type { Statements } from "./client/client.ts";

interface Standing {
  readonly is_read_only: number;
  readonly commit: string;
  readonly synchronous: string;
  readonly standbys: number;
}

/** Other walsenders than those of standbys: subscribers to single tables, and copies being made. */
const STANDING = `
  select case when current_setting('transaction_read_only') = 'on' then 1 else 0 end as is_read_only,
    current_setting('synchronous_commit') as commit, current_setting('synchronous_standby_names') as synchronous,
    (select count(*) from pg_stat_replication as sender where coalesce(state, 'streaming') = 'streaming'
      and coalesce(application_name, '') <> 'pg_basebackup' and not exists (
        select 1 from pg_replication_slots where active_pid = sender.pid and slot_type = 'logical')) as standbys
  from configuration_state`;

/**
 * Returns what the owner of a database should know that works: that it may lose what was acknowledged; undefined if there is
 * nothing. Throws if it does not work.
 */
export async function standingOf(statements: Statements): Promise<string | undefined> {
  const found = await statements.get<Standing>(STANDING);
  if (found === undefined) throw new Error("The configuration has no state");
  if (found.is_read_only === 1) {
    throw new AppError(
      "database_unavailable",
      "The database of DATABASE_URL can only be read: it is a standby, or was made read-only. Give the address of the primary",
    );
  }
  if (found.commit === "off") {
    return 'PostgreSQL has "synchronous_commit = off": a crash may lose submissions that were answered with 202. Set it to "on" for this user or database';
  }
  if (found.standbys > 0 && (found.synchronous === "" || found.commit === "local")) {
    return 'PostgreSQL has no synchronous standby: a failover may lose submissions that were answered with 202. Name one in synchronous_standby_names, with "synchronous_commit = on"';
  }
  return undefined;
}
