import { mapInSlices } from "../../../domain/concurrency.ts";
import type { Invocation } from "../../../domain/calls/invocations.ts";
import { STATS_KEPT } from "../../../domain/limits.ts";
import { type Resolution, RESOLUTIONS } from "../../../domain/stats/query.ts";
import type { Counted, KeptStatsQuery, StatsBucket, StatsStore } from "../../stats.ts";
import type { Database, Statement } from "../database/database.ts";
import { type CountedCall, talliesOf } from "../../tallies.ts";
import { decodeTally } from "../../tally-encoding.ts";
import { BucketTable } from "./buckets.ts";

const FIELDS = [
  "function_id",
  "status",
  "reason",
  "start",
  "queue_ms",
  "start_ms",
  "boot_ms",
  "run_ms",
  "request_bytes",
  "response_bytes",
  "finished_at",
] as const satisfies readonly (keyof Invocation)[];
type Row = CountedCall & Pick<Invocation, "id">;

const NAMES = ["minute", "hour"] as const satisfies readonly Resolution[];

/** The figures of calls, and the list of those that are to be counted; the only place of their SQL. */
export class StatsTable implements StatsStore {
  readonly #database: Database;
  readonly #buckets: Readonly<Record<Resolution, BucketTable>>;
  /** Without an invocation for one that was removed unseen. */
  readonly #next: Statement<Omit<Row, "id"> & { id: string; status: Invocation["status"] | null }>;
  readonly #forgetUpTo: Statement<never>;
  readonly #backlog: Statement<{ before_id: string }>;
  readonly #backlogRows: Statement<Row>;
  readonly #setBacklog: Statement<never>;
  readonly #endBacklog: Statement<never>;
  readonly #uncounted: Statement<Row>;
  readonly #forget: Statement<never>;

  constructor(database: Database) {
    this.#database = database;
    this.#buckets = {
      minute: new BucketTable(database, "minute", STATS_KEPT.minute),
      hour: new BucketTable(database, "hour", STATS_KEPT.hour),
    };
    const fields = FIELDS.join();
    this.#next = database.prepare(
      `select invocation_id as id, ${fields} from uncounted left join invocations on id = invocation_id
       order by invocation_id limit $batch`,
    );
    this.#forgetUpTo = database.prepare("delete from uncounted where invocation_id <= $id");
    this.#backlog = database.prepare("select before_id from stats_backlog");
    this.#backlogRows = database.prepare(
      `select id, ${fields} from invocations where id < $before_id order by id desc limit $batch`,
    );
    this.#setBacklog = database.prepare("update stats_backlog set before_id = $before_id");
    this.#endBacklog = database.prepare("delete from stats_backlog");
    this.#uncounted = database.prepare(
      `select id, ${fields} from invocations where id = $id and (
         exists (select 1 from uncounted where invocation_id = $id) or
         exists (select 1 from stats_backlog where $id < before_id))`,
    );
    this.#forget = database.prepare("delete from uncounted where invocation_id = $id");
  }

  async count(batch: number): Promise<Counted> {
    const isIdle = this.#next.get({ batch: 1 }) === undefined && this.#backlog.get() === undefined;
    // Nothing is written if there is nothing to do, so that an idle server stays idle.
    if (isIdle && !this.#isOver()) return { counted: 0, left: "nothing" };
    return this.#database.fast(() => {
      const ended = this.#countNext(batch);
      // The functions that are called now go first.
      const old = ended < batch ? this.#countBacklog(batch - ended) : 0;
      for (const name of NAMES) this.#buckets[name].trim();
      return { counted: ended + old, left: ended === batch ? "ended" : this.#left() };
    });
  }

  async read({ resolution, function_id, since, until }: KeptStatsQuery): Promise<StatsBucket[]> {
    const size = RESOLUTIONS[resolution];
    const rows = this.#buckets[resolution].rows(function_id ?? "", Math.ceil(since / size), Math.ceil(until / size));
    return mapInSlices(rows, ({ bucket, figures }) => ({ at: bucket * size, tally: decodeTally(figures) }));
  }

  /** Part of a transaction that removes records: counts those of them that are not counted yet. */
  countBeforeRemoval(ids: readonly string[]): void {
    const rows = ids.flatMap((id) => this.#uncounted.get({ id }) ?? []);
    this.#add(rows);
    for (const { id } of rows) this.#forget.run({ id });
  }

  /** Part of a transaction: moves what ended after `furthest` to now, at most a batch; returns how many rows were moved. */
  takeBack(now: number, furthest: number): number {
    return NAMES.reduce((sum, name) => sum + this.#buckets[name].takeBack(now, furthest), 0);
  }

  #countNext(batch: number): number {
    const found = this.#next.all({ batch });
    const last = found.at(-1);
    if (last === undefined) return 0;
    this.#add(found.filter(isRow));
    this.#forgetUpTo.run({ id: last.id });
    return found.length;
  }

  #left(): Counted["left"] {
    if (this.#backlog.get() !== undefined) return "backlog";
    return this.#isOver() ? "too_much" : "nothing";
  }

  #countBacklog(batch: number): number {
    const backlog = this.#backlog.get();
    if (backlog === undefined) return 0;
    const found = this.#backlogRows.all({ ...backlog, batch });
    const last = found.at(-1);
    if (found.length === batch && last !== undefined) this.#setBacklog.run({ before_id: last.id });
    else this.#endBacklog.run();
    this.#add(found);
    return found.length;
  }

  #add(rows: readonly Row[]): void {
    for (const name of NAMES) this.#buckets[name].add(talliesOf(rows, RESOLUTIONS[name]));
  }

  #isOver(): boolean {
    return NAMES.some((name) => this.#buckets[name].isOver);
  }
}

function isRow(row: Omit<Row, "status"> & { readonly status: Row["status"] | null }): row is Row {
  return row.status !== null;
}
