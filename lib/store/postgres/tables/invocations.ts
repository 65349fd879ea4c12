import type {
  Invocation,
  InvocationPage,
  InvocationQuery,
  LogEntry,
  Undelivered,
} from "../../../domain/calls/invocations.ts";
import { STATUSES } from "../../../domain/calls/invocations.ts";
import { PAGE } from "../../../domain/limits.ts";
import { timestamp } from "../../../domain/types.ts";
import { decodeCursor, encodeCursor } from "../../cursors.ts";
import type { DeadFilter, WrittenElsewhere } from "../../history.ts";
import type { Pruning } from "../../records.ts";
import type { Bindings } from "../client/statement.ts";
import type { Statements } from "../client/client.ts";

/** An invocation as its row: what no list or query needs is in the record alone. */
export interface InvocationRow {
  readonly record: string;
  readonly undelivered: Undelivered | null;
  readonly finished_at: string | null;
}

/** The columns that make an invocation. */
export const INVOCATION = "record, undelivered, finished_at";

/** The most records that are taken back at once. */
const TAKE_BACK_BATCH = 200;

/** The bytes of payloads that one batch of the retention removes. */
const PRUNE_BYTES = 16 * 1024 * 1024;

const ENDS = STATUSES.filter((status) => status !== "queued" && status !== "running");

/** Writes a record, new or known; what is null keeps its value. The rows are those of a statement before it, `$rows` its JSON. */
const SAVE = `
  insert into invocations
    (id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at, holder, record, logs)
  select id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at, $holder, record, logs
  from json_to_recordset($rows::text::json) as row (id text, function_id text, status text, mode text, key_id text,
    replay_of text, parent_id text, undelivered text, created_at text, finished_at text, record text, logs text)
  on conflict (id) do update set status = excluded.status, mode = excluded.mode, holder = excluded.holder,
    undelivered = coalesce(excluded.undelivered, invocations.undelivered), finished_at = excluded.finished_at,
    record = excluded.record, logs = coalesce(excluded.logs, invocations.logs)`;

/** Returns an invocation of its row. */
export function invocationOf({ record, undelivered, finished_at }: InvocationRow): Invocation {
  return { ...(JSON.parse(record) as Invocation), undelivered, finished_at }; // `rowOf` made it
}

/** Returns the columns of an invocation, as JSON has them. */
function rowOf(invocation: Invocation, logs?: readonly LogEntry[]) {
  const { id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at } =
    invocation;
  const columns = { id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at };
  return { ...columns, record: JSON.stringify(invocation), logs: logs === undefined ? null : JSON.stringify(logs) };
}

/** Returns the parameters of a new invocation: `$id`, `$record` and so on. */
export function invocationBindings(invocation: Invocation, holder: string): Bindings {
  const { logs: _, ...row } = rowOf(invocation);
  return { ...row, holder };
}

/** The records of invocations and their logs, the only place of their SQL. */
export class InvocationTable {
  /** The server whose records these are. */
  readonly #holder: string;

  constructor(holder: string) {
    this.#holder = holder;
  }

  /** Writes records, new or known; without logs one keeps its logs. */
  async save(
    statements: Statements,
    records: readonly { readonly invocation: Invocation; readonly logs?: readonly LogEntry[] | undefined }[],
  ): Promise<void> {
    // A statement may write a row only once: the last one counts, with the logs of any.
    const rows = new Map<string, ReturnType<typeof rowOf>>();
    for (const { invocation, logs } of records) {
      const row = rowOf(invocation, logs);
      const earlier = rows.get(row.id);
      const undelivered = row.undelivered ?? earlier?.undelivered ?? null;
      rows.set(row.id, { ...row, logs: row.logs ?? earlier?.logs ?? null, undelivered });
    }
    // In one order for all servers, so that none waits for another that waits for it.
    const ordered = [...rows.values()].toSorted((one, other) => (one.id < other.id ? -1 : 1));
    await statements.run(SAVE, { rows: JSON.stringify(ordered), holder: this.#holder });
  }

  async put(statements: Statements, invocation: Invocation, logs?: readonly LogEntry[]): Promise<void> {
    await this.save(statements, [{ invocation, logs }]);
  }

  async get(statements: Statements, id: string): Promise<Invocation | undefined> {
    const row = await statements.get<InvocationRow>(`select ${INVOCATION} from invocations where id = $id`, { id });
    return row && invocationOf(row);
  }

  /** Returns those records among these that another server has written last. */
  async writtenElsewhere(statements: Statements, ids: readonly string[]): Promise<WrittenElsewhere[]> {
    const rows = await statements.all<InvocationRow & { readonly holder: string }>(
      `select ${INVOCATION}, holder from invocations
       where id in (select json_array_elements_text($ids::text::json)) and holder <> $holder`,
      { ids: JSON.stringify(ids), holder: this.#holder },
    );
    return rows.map(({ holder, ...row }) => ({ invocation: invocationOf(row), holder }));
  }

  async logs(statements: Statements, id: string): Promise<LogEntry[]> {
    const row = await statements.get<{ logs: string | null }>("select logs from invocations where id = $id", { id });
    return (JSON.parse(row?.logs ?? "[]") ?? []) as LogEntry[]; // `rowOf` made it
  }

  async markUndelivered(statements: Statements, id: string, why: Undelivered): Promise<void> {
    await statements.run("update invocations set undelivered = $why where id = $id", { id, why });
  }

  async remove(statements: Statements, ids: readonly string[]): Promise<void> {
    await statements.run("delete from invocations where id in (select json_array_elements_text($ids::text::json))", {
      ids: JSON.stringify(ids),
    });
  }

  async list(statements: Statements, query: InvocationQuery): Promise<InvocationPage> {
    const limit = Math.min(Math.max(query.limit, 1), PAGE.max);
    const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    const conditions = [
      query.function_id !== undefined && "function_id = $function_id",
      query.status !== undefined && "status = $status",
      query.parent_id !== undefined && "parent_id = $parent_id",
      query.since !== undefined && "created_at >= $since",
      query.until !== undefined && "created_at < $until",
      after !== undefined && "(created_at, id) < ($created_at, $id)",
    ].filter((condition) => condition !== false);
    const where = conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`;
    const { function_id = null, status = null, parent_id = null, since = null, until = null } = query;
    const { created_at = null, id = null } = after ?? {};
    // One more than asked for, to see whether there is a next page.
    const rows = await statements.all<InvocationRow>(
      `select ${INVOCATION} from invocations ${where} order by created_at desc, id desc limit $count::bigint`,
      { function_id, status, parent_id, since, until, created_at, id, count: limit + 1 },
    );
    const invocations = rows.slice(0, limit).map(invocationOf);
    const last = rows.length > limit ? invocations.at(-1) : undefined;
    return { invocations, next_cursor: last === undefined ? null : encodeCursor(last) };
  }

  /** Returns the ids of up to a batch of the records that ended first, as `History.prune` says. */
  async prunable(statements: Statements, { before, keep, batch }: Pruning): Promise<string[]> {
    // Nothing has the empty id, so this is everything that ended before that moment.
    const tooOld = { finished_at: timestamp(before), id: "" };
    const tooMany = await statements.get<{ finished_at: string; id: string }>(
      `select finished_at, id from invocations where finished_at is not null order by finished_at desc, id desc
       limit 1 offset $keep::bigint`,
      { keep },
    );
    const last = tooMany !== undefined && tooMany.finished_at >= tooOld.finished_at ? tooMany : tooOld;
    const found = await statements.all<{ id: string; bytes: number }>(
      `select id, coalesce(bytes, 0) as bytes from invocations left join payloads on payloads.invocation_id = id
       where finished_at is not null and (finished_at, id) <= ($finished_at, $id)
         and status in (${ENDS.map((end) => `'${end}'`).join()})
         and not exists (select 1 from deliveries where deliveries.invocation_id = id and state = 'waiting')
       order by finished_at, id limit $batch::bigint`,
      { ...last, batch },
    );
    let bytes = 0;
    return found.flatMap(({ id, bytes: payload }) => {
      if (bytes >= PRUNE_BYTES) return [];
      bytes += payload;
      return [id];
    });
  }

  async isReplayed(statements: Statements, id: string): Promise<boolean> {
    return (
      (await statements.get("select 1 as found from invocations where replay_of = $id limit 1", { id })) !== undefined
    );
  }

  /** Lets records that ended after `furthest` end now, at most a batch; returns how many. */
  takeBack(statements: Statements, now: number, furthest: number): Promise<number> {
    return statements.run(
      `with batch as materialized (select id from invocations where finished_at > $furthest limit ${TAKE_BACK_BATCH})
       update invocations set finished_at = $now from batch where invocations.id = batch.id`,
      { now: timestamp(now), furthest: timestamp(furthest) },
    );
  }

  async deadNotReplayed(statements: Statements, filter: DeadFilter, limit: number): Promise<Invocation[]> {
    const rows = await statements.all<InvocationRow>(
      `select ${INVOCATION} ${DEAD} order by created_at desc, id desc limit $limit::bigint`,
      { ...filter, limit },
    );
    return rows.map(invocationOf);
  }

  async countDeadNotReplayed(statements: Statements, filter: DeadFilter): Promise<number> {
    return (await statements.get<{ count: number }>(`select count(*) as count ${DEAD}`, { ...filter }))?.count ?? 0;
  }

  /** Ends the synchronous invocations that this server left running, as of `now`; returns how many. */
  async markLost(statements: Statements, now: number): Promise<number> {
    const rows = await statements.all<InvocationRow>(
      `select ${INVOCATION} from invocations where status = 'running' and mode = 'sync' and holder = $holder
       order by id for update`,
      { holder: this.#holder },
    );
    const message = "The server ended before the function did";
    const end = { status: "failed", reason: "instance_lost", message, finished_at: timestamp(now) } as const;
    if (rows.length > 0)
      await this.save(
        statements,
        rows.map((row) => ({ invocation: { ...invocationOf(row), ...end } })),
      );
    return rows.length;
  }
}

const DEAD = `from invocations where status = 'dead' and ($function_id::text is null or function_id = $function_id::text)
  and ($key_id::text is null or key_id = $key_id::text)
  and not exists (select 1 from invocations as replay where replay.replay_of = invocations.id)
  and exists (select 1 from payloads where payloads.invocation_id = invocations.id)
  and exists (select 1 from configuration where owner = '' and kind = 'functions'
    and configuration.id = invocations.function_id and configuration.record is not null)`;
