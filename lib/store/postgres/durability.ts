import { AppError } from "../../domain/errors.ts";
import type { Statements } from "./client/client.ts";

/** The settings that say whether it can be written and what a failover loses, and the number of standbys that follow. */
interface Durability {
  readonly is_read_only: number;
  readonly commit: string;
  readonly synchronous: string;
  readonly standbys: number;
}

/** Other walsenders than those of standbys: subscribers to single tables, and copies being made. */
const DURABILITY = `
  select case when current_setting('transaction_read_only') = 'on' then 1 else 0 end as is_read_only,
    current_setting('synchronous_commit') as commit, current_setting('synchronous_standby_names') as synchronous,
    (select count(*) from pg_stat_replication as sender where coalesce(state, 'streaming') = 'streaming'
      and coalesce(application_name, '') <> 'pg_basebackup' and not exists (
        select 1 from pg_replication_slots where active_pid = sender.pid and slot_type = 'logical')) as standbys
  from configuration_state`;

/**
 * Returns why the database may lose what was acknowledged, and what to do; undefined if it does not. Throws `database_unavailable` if it
 * can only be read.
 */
export async function durabilityProblem(statements: Statements): Promise<string | undefined> {
  const found = await statements.get<Durability>(DURABILITY);
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
