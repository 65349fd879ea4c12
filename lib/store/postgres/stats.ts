import { mapInSlices } from "../../domain/concurrency.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { type Resolution, RESOLUTIONS } from "../../domain/stats/query.ts";
import type { Counted, KeptStatsQuery, StatsBucket, StatsStore } from "../stats.ts";
import { talliesOf } from "../tallies.ts";
import { decodeTally } from "../tally-encoding.ts";
import type { Client, Statements } from "./client/client.ts";
import { LOCK_KEY } from "./client/schema.ts";
import { BucketTable } from "./buckets.ts";
import { INVOCATION, invocationOf, type InvocationRow } from "./tables/invocations.ts";

const NAMES = ["minute", "hour"] as const satisfies readonly Resolution[];

/** The lock of whoever counts calls or removes records; its number is only different from others. */
const LOCK = 0x534c4951;

/** The figures of calls, and the list of those that are to be counted. One server at a time counts. */
export class PostgresStats implements StatsStore {
  readonly #client: Client;
  readonly #figures: Readonly<Record<Resolution, BucketTable>> = {
    minute: new BucketTable("minute"),
    hour: new BucketTable("hour"),
  };

  constructor(client: Client) {
    this.#client = client;
  }

  async count(batch: number): Promise<Counted> {
    const [next] = await this.#client.all("select invocation_id from uncounted limit 1");
    if (next === undefined && !(await this.#isOver(this.#client))) return { counted: 0, left: "nothing" };
    return this.#client.transaction(async (transaction): Promise<Counted> => {
      if (!(await this.tryLock(transaction))) return { counted: 0, left: "nothing" };
      const rows = await transaction.all<{ uncounted: string } & Nullable<InvocationRow>>(
        `select invocation_id as uncounted, ${INVOCATION} from uncounted left join invocations on id = invocation_id
         order by invocation_id limit $batch::bigint`,
        { batch },
      );
      await this.#add(
        transaction,
        rows.flatMap(({ record, ...row }) => (record === null ? [] : [invocationOf({ ...row, record })])),
      );
      await forget(
        transaction,
        rows.map(({ uncounted }) => uncounted),
      );
      for (const name of NAMES) await this.#figures[name].trim(transaction);
      if (rows.length === batch) return { counted: rows.length, left: "ended" };
      return { counted: rows.length, left: (await this.#isOver(transaction)) ? "too_much" : "nothing" };
    });
  }

  async read({ resolution, function_id, since, until }: KeptStatsQuery): Promise<StatsBucket[]> {
    const size = RESOLUTIONS[resolution];
    const [first, end] = [Math.ceil(since / size), Math.ceil(until / size)];
    const rows = await this.#figures[resolution].rows(this.#client, function_id ?? "", first, end);
    return mapInSlices(rows, ({ bucket, figures }) => ({ at: bucket * size, tally: decodeTally(figures) }));
  }

  /** Part of a transaction: takes the lock of the figures until its end; returns whether nobody else has it. */
  async tryLock(statements: Statements): Promise<boolean> {
    const sql = `select case when pg_try_advisory_xact_lock(${LOCK_KEY}) then 1 else 0 end as taken`;
    return (await statements.get<{ taken: number }>(sql, { lock: LOCK }))?.taken === 1;
  }

  /** Part of a transaction with the lock, which removes records: counts those of them that are not counted yet. */
  async countBeforeRemoval(statements: Statements, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const rows = await statements.all<InvocationRow>(
      `select ${INVOCATION} from uncounted join invocations on id = invocation_id
       where invocation_id in (select json_array_elements_text($ids::text::json))`,
      { ids: JSON.stringify(ids) },
    );
    await this.#add(statements, rows.map(invocationOf));
    await forget(statements, ids);
  }

  /** Part of a transaction: moves what ended after `furthest` to now, at most a batch; returns how many rows were moved. */
  async takeBack(statements: Statements, now: number, furthest: number): Promise<number> {
    await statements.run(`select pg_advisory_xact_lock(${LOCK_KEY})`, { lock: LOCK });
    let moved = 0;
    for (const name of NAMES) moved += await this.#figures[name].takeBack(statements, now, furthest);
    return moved;
  }

  async #add(statements: Statements, calls: readonly Invocation[]): Promise<void> {
    for (const name of NAMES) await this.#figures[name].add(statements, talliesOf(calls, RESOLUTIONS[name]));
  }

  async #isOver(statements: Statements): Promise<boolean> {
    for (const name of NAMES) if (await this.#figures[name].isOver(statements)) return true;
    return false;
  }
}

type Nullable<T> = { readonly [F in keyof T]: T[F] | null };

async function forget(statements: Statements, ids: readonly string[]): Promise<void> {
  await statements.run(
    "delete from uncounted where invocation_id in (select json_array_elements_text($ids::text::json))",
    { ids: JSON.stringify(ids) },
  );
}
