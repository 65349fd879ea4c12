import {
  Invocation,
  type InvocationPage,
  type InvocationQuery,
  type LogEntry,
  STATUSES,
  type Undelivered,
} from "../../../domain/calls/invocations.ts";
import { PAGE } from "../../../domain/limits.ts";
import { timestamp } from "../../../domain/types.ts";
import type { Database, Statement } from "../database/database.ts";
import { decodeCursor, encodeCursor } from "../../cursors.ts";
import type { DeadFilter } from "../../history.ts";
import { sizeOf } from "../../ledger-rules.ts";
import type { Pruning, SavedInvocation } from "../../records.ts";
import type { StatsTable } from "../stats/table.ts";
import type { PayloadTable } from "./payloads.ts";
import { listSql } from "./records/list-sql.ts";
import { type EndPosition, NewestRecords } from "./records/newest.ts";

/** The columns are the record's fields. */
const COLUMNS: readonly string[] = Object.keys(Invocation.properties);
/** Fields that never change. An update that names them would write their indices again, for nothing. */
const FIXED: ReadonlySet<string> = new Set(["id", "function_id", "key_id", "created_at", "replay_of", "parent_id"]);

/** Fields that keep their value when a record is written again without one. */
const KEPT: ReadonlySet<string> = new Set(["undelivered", "logs"]);

/** The most records that are taken back at once: a few milliseconds of the event loop. */
const TAKE_BACK_BATCH = 200;

const ENDS = STATUSES.filter((status) => status !== "queued" && status !== "running");

/** The bytes of payloads that one batch of the retention removes. */
const PRUNE_BYTES = 16 * 1024 * 1024;

/** The records of invocations and their logs, the only place of their SQL. */
export class InvocationTable {
  readonly #database: Database;
  readonly #payloads: PayloadTable;
  readonly #stats: Pick<StatsTable, "countBeforeRemoval">;
  readonly #save: Statement<never>;
  readonly #markUndelivered: Statement<never>;
  readonly #remove: Statement<never>;
  readonly #get: Statement<Invocation>;
  readonly #logs: Statement<{ logs: string | null }>;
  readonly #newest: NewestRecords;
  /** The limit of the prunings of late, and the newest record beyond it, if any: until everything up to that is removed. */
  #beyond: { readonly keep: number; readonly position: EndPosition | undefined } | undefined;
  readonly #prunable: Statement<{ id: string; bytes: number }>;
  readonly #markLost: Statement<never>;
  readonly #takeBack: Statement<never>;
  readonly #dead: Statement<Invocation>;
  readonly #countDead: Statement<{ count: number }>;
  readonly #isReplayed: Statement<unknown>;

  constructor(database: Database, payloads: PayloadTable, stats: Pick<StatsTable, "countBeforeRemoval">) {
    this.#database = database;
    this.#payloads = payloads;
    this.#stats = stats;
    const columns = COLUMNS.join();
    const written = [...COLUMNS, "logs"].filter((column) => !FIXED.has(column));
    this.#save = database.prepare(
      `insert into invocations (${columns}, logs) values (${COLUMNS.map((column) => `$${column}`).join()}, $logs)
       on conflict (id) do update set
         ${written.map((column) => `${column} = ${KEPT.has(column) ? `coalesce(excluded.${column}, ${column})` : `excluded.${column}`}`).join()}`,
    );
    this.#markUndelivered = database.prepare("update invocations set undelivered = $why where id = $id");
    this.#remove = database.prepare("delete from invocations where id = $id");
    this.#get = database.prepare(`select ${columns} from invocations where id = $id`);
    this.#logs = database.prepare("select logs from invocations where id = $id");
    this.#newest = new NewestRecords(database);
    // The index on the end has them in order. With the plus, SQLite does not take the one on the status, and sort everything.
    this.#prunable = database.prepare(
      `select id, coalesce(bytes, 0) as bytes from invocations
       left join payload_sizes on payload_sizes.invocation_id = invocations.id
       where finished_at is not null and (finished_at, id) <= ($finished_at, $id)
         and +status in (${ENDS.map((end) => `'${end}'`).join()})
         and not exists (select 1 from deliveries where invocation_id = invocations.id and state = 'waiting')
       order by finished_at, id limit $batch`,
    );
    const dead = `from invocations where status = 'dead' and ($function_id is null or function_id = $function_id)
       and ($key_id is null or key_id = $key_id)
       and not exists (select 1 from invocations as replay where replay.replay_of = invocations.id)
       and exists (select 1 from payloads where invocation_id = invocations.id)
       and exists (select 1 from functions where functions.id = invocations.function_id)`;
    this.#dead = database.prepare(`select ${columns} ${dead} order by created_at desc, id desc limit $limit`);
    this.#countDead = database.prepare(`select count(*) as count ${dead}`);
    this.#isReplayed = database.prepare("select 1 from invocations where replay_of = $id limit 1");
    this.#takeBack = database.prepare(
      `update invocations set finished_at = $now where id in (
         select id from invocations where finished_at > $furthest limit ${TAKE_BACK_BATCH})`,
    );
    this.#markLost = database.prepare(
      `update invocations set status = 'failed', reason = 'instance_lost', message = $message, finished_at = $now
       where status = 'running' and mode = 'sync'`,
    );
  }

  /**
   * Writes records, new or known, in one transaction. It survives the death of the process, not of the machine;
   * some 25 us a record in a batch of hundreds.
   */
  save(records: readonly SavedInvocation[]): Promise<void> {
    return this.#database.fast(() => {
      for (const { invocation, logs, payload } of records) {
        this.put(invocation, logs);
        // Without room nothing is kept of it besides its record.
        if (payload !== undefined && this.#payloads.makeRoom(sizeOf(payload)))
          this.#payloads.put(payload, Date.parse(invocation.finished_at ?? invocation.created_at));
      }
      if (records.some(({ payload }) => payload !== undefined)) this.#payloads.trim();
    });
  }

  /** Writes one record as part of the caller's transaction; without logs it keeps its logs. */
  put(invocation: Invocation, logs?: readonly LogEntry[]): void {
    this.#save.run({ ...invocation, logs: logs === undefined ? null : JSON.stringify(logs) });
  }

  get(id: string): Invocation | undefined {
    return this.#get.get({ id });
  }

  /** Returns the kept part of the function's output; empty if it printed nothing or the invocation is not known. */
  logs(id: string): LogEntry[] {
    const logs = this.#logs.get({ id })?.logs ?? null;
    if (logs === null) return [];
    return JSON.parse(logs) as LogEntry[]; // `save` wrote it
  }

  /** Notes that the answer of an invocation did not reach its caller. */
  async markUndelivered(id: string, why: Undelivered): Promise<void> {
    await this.#database.fast(() => this.#markUndelivered.run({ id, why }));
  }

  /** Removes an invocation and its logs. */
  async remove(id: string): Promise<void> {
    await this.#database.fast(() => this.#remove.run({ id }));
  }

  /** Returns a page, newest first. Throws `invalid_request` for a cursor that no page gave. */
  list(query: InvocationQuery): InvocationPage {
    const limit = Math.min(Math.max(query.limit, 1), PAGE.max);
    const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
    const statement = this.#database.prepare<Invocation>(
      listSql(COLUMNS.join(), { ...query, isContinued: after !== undefined }),
    );
    const { function_id = null, status = null, parent_id = null, since = null, until = null } = query;
    const { created_at = null, id = null } = after ?? {};
    // One more than asked for, to see whether there is a next page.
    const rows = statement.all({ function_id, status, parent_id, since, until, created_at, id, count: limit + 1 });
    const invocations = rows.slice(0, limit);
    const last = rows.length > limit ? invocations.at(-1) : undefined;
    return { invocations, next_cursor: last === undefined ? null : encodeCursor(last) };
  }

  /**
   * Removes up to a batch of the records that ended first with their logs, except those whose result is to be sent.
   * Returns the number of removed records.
   */
  async prune({ before, keep, batch }: Pruning): Promise<number> {
    const known = this.#beyond?.keep === keep ? this.#beyond : undefined;
    const { position } = (this.#beyond = known ?? { keep, position: await this.#newest.firstBeyond(keep) });
    // Nothing has the empty id, so this is everything that ended before that moment.
    const tooOld = { finished_at: timestamp(before), id: "" };
    const last = position !== undefined && position.finished_at >= tooOld.finished_at ? position : tooOld;
    const removed = await this.#database.fast(() => this.#removeUpTo(last, batch));
    if (removed > 0) return removed;
    this.#beyond = undefined;
    // More may have ended since it was found.
    return known === undefined ? 0 : this.prune({ before, keep, batch });
  }

  /** Part of a transaction: removes the first records, at most a batch, and returns how many. */
  #removeUpTo(last: EndPosition, batch: number): number {
    const ids: string[] = [];
    let bytes = 0;
    for (const { id, bytes: payload } of this.#prunable.all({ ...last, batch })) {
      // The pages of a payload are read when it is removed: 16 MiB take some 10 ms.
      if (bytes >= PRUNE_BYTES) break;
      ids.push(id);
      bytes += payload;
    }
    this.#stats.countBeforeRemoval(ids);
    for (const id of ids) this.#remove.run({ id });
    return ids.length;
  }

  /** Part of a transaction: lets records that ended after `furthest` end now, at most a batch, so that they age; returns how many. */
  takeBack(now: number, furthest: number): number {
    return this.#takeBack.run({ now: timestamp(now), furthest: timestamp(furthest) });
  }

  /** Lists the dead ones not replayed yet whose requests and functions still exist, the newest first. */
  deadNotReplayed(filter: DeadFilter, limit: number): Invocation[] {
    return this.#dead.all({ ...filter, limit });
  }

  isReplayed(id: string): boolean {
    return this.#isReplayed.get({ id }) !== undefined;
  }

  countDeadNotReplayed(filter: DeadFilter): number {
    return this.#countDead.get({ ...filter })?.count ?? 0;
  }

  /**
   * Ends the synchronous invocations that a dead server left running, as of `now` (milliseconds since the epoch).
   * Returns their number.
   */
  markLost(now: number): Promise<number> {
    const message = "The server ended before the function did";
    return this.#database.fast(() => this.#markLost.run({ message, now: timestamp(now) }));
  }
}
