import type { AttemptId, Turns } from "../../ledger.ts";
import type { ReadyWork, Work } from "../../records.ts";
import type { Statements } from "../client/client.ts";
import { INVOCATION, type InvocationRow } from "./invocations.ts";

/** The most rows that are moved at once. */
const BATCH = 500;

/** The columns of `Work`. */
const COLUMNS =
  "work.invocation_id, work.function_id, work.state, work.priority, work.due, work.attempts, work.lost_attempts, " +
  "work.lease_until, work.waits_since";

/** The expression for what `attemptKey` returns. */
const ATTEMPT = "invocation_id || ' ' || attempts";

/** Returns what distinguishes an attempt from all others, also those at the same invocation. */
export function attemptKey(invocation_id: string, attempt: number): string {
  return `${invocation_id} ${attempt}`;
}

/**
 * The time by which leases of others have ended: the caller's or the database's, whichever is earlier, so that no server takes
 * over work too early because its own idea of the time is wrong.
 */
const ENDED = "least($now::bigint, (extract(epoch from clock_timestamp()) * 1000)::bigint)";

/** Work that was just taken, with its invocation as it was before. */
interface TakenWork extends Work, InvocationRow {}

/** A function of the turns with the highest priority of its other ready work (null if there is none), and work that was taken of it, if any. */
type TakenRow = {
  readonly turns_of: string;
  readonly next_priority: number | null;
} & (TakenWork | { readonly invocation_id: null });

/** The order in which the work of a function is taken, which has an index. */
const FIRST = "order by priority desc, due, invocation_id";

const TAKE = `
  with turns as (
    select * from json_to_recordset($functions::text::json) as turns (function_id text, most integer, position integer)),
  candidates as (
    select turns.function_id, position, priority,
      row_number() over (partition by turns.function_id order by priority desc, due, invocation_id) as nth
    from turns cross join lateral (
      select priority, due, invocation_id from work
      where work.function_id = turns.function_id and state = 'ready' ${FIRST} limit turns.most) as ready),
  chosen as (
    select function_id, count(*) as pieces from (
      select function_id from (
        select *, row_number() over (order by priority desc, nth, position) > least($urgent::integer, $limit::integer) as is_patient from candidates
      ) as ordered order by is_patient, nth, position limit $limit::integer) as those
    group by function_id),
  next as (
    select free.invocation_id from chosen cross join lateral (
      select invocation_id from work
      where work.function_id = chosen.function_id and state = 'ready' ${FIRST} limit chosen.pieces for update skip locked) as free),
  taken as (
    update work set state = 'leased', lease_until = $lease_until::bigint, attempts = attempts + 1, holder = $holder
    from next where work.invocation_id = next.invocation_id returning ${COLUMNS})
  select turns.function_id as turns_of, (
      select priority from work where work.function_id = turns.function_id and state = 'ready'
        and not exists (select 1 from taken where taken.invocation_id = work.invocation_id)
      ${FIRST} limit 1) as next_priority,
    taken.*, ${INVOCATION}
  from turns left join taken on taken.function_id = turns.function_id
    left join invocations on invocations.id = taken.invocation_id`;

/** Work that was lost, and whether its server was asked to cancel it (1). */
interface LostWork extends Work {
  readonly cancelled: number;
}

interface EndingAttempt {
  readonly invocation_id: string;
  readonly lost: number;
}

/** The work that is left to do, the only place of its SQL. A lease belongs to the server that took the work. */
export class WorkTable {
  readonly #holder: string;
  readonly #pauseMs: number;

  /** For so many milliseconds after a start of the database no work of other servers is taken over. */
  constructor(holder: string, pauseMs: number) {
    this.#holder = holder;
    this.#pauseMs = pauseMs;
  }

  async insert(statements: Statements, work: Work): Promise<void> {
    await statements.run(
      `insert into work (invocation_id, function_id, state, priority, due, attempts, lost_attempts, lease_until, waits_since)
       values ($invocation_id, $function_id, $state, $priority::integer, $due::bigint, $attempts::integer,
         $lost_attempts::integer, $lease_until::bigint, $waits_since::bigint)`,
      { ...work },
    );
  }

  /** Returns work; `lock` if this transaction goes on to write it. */
  get(statements: Statements, invocation_id: string, lock = false): Promise<Work | undefined> {
    const sql = `select ${COLUMNS} from work where invocation_id = $invocation_id ${lock ? "for update" : ""}`;
    return statements.get<Work>(sql, { invocation_id });
  }

  /**
   * Takes work in turns, as `Ledger.claim` does. The turns are divided by what is ready; then each function gives what no other
   * transaction is about to take.
   */
  async take(statements: Statements, { functions, limit, urgent }: Turns, lease_until: number) {
    const rows = await statements.all<TakenRow>(TAKE, {
      functions: JSON.stringify(functions.map((one, position) => ({ ...one, position }))),
      limit,
      urgent,
      lease_until,
      holder: this.#holder,
    });
    const taken: TakenWork[] = [];
    const left = new Map<string, ReadyWork>();
    for (const { turns_of: function_id, next_priority: priority, ...row } of rows) {
      if (priority !== null) left.set(function_id, { function_id, priority });
      if (row.invocation_id !== null) taken.push(row);
    }
    return { taken, left: [...left.values()] };
  }

  /** Gives back work whose attempts were not begun, and does not count them. Returns those that still had their leases. */
  giveBack(statements: Statements, given: readonly AttemptId[]): Promise<AttemptId[]> {
    return statements.all<AttemptId>(
      `update work set state = 'ready', lease_until = null, holder = null, attempts = attempts - 1
       from json_to_recordset($given::text::json) as given (invocation_id text, attempt integer)
       where work.invocation_id = given.invocation_id and work.attempts = given.attempt
         and state = 'leased' and holder = $holder
       returning given.invocation_id, given.attempt`,
      { given: JSON.stringify(given), holder: this.#holder },
    );
  }

  /** Renews the leases of this server for these attempts; none of them ends earlier than it did. */
  async renew(statements: Statements, lease_until: number, attempted: Iterable<string>): Promise<void> {
    await statements.run(
      `update work set lease_until = greatest(lease_until, $lease_until::bigint)
       where state = 'leased' and holder = $holder
         and ${ATTEMPT} in (select json_array_elements_text($attempted::text::json))`,
      { lease_until, holder: this.#holder, attempted: JSON.stringify([...attempted]) },
    );
  }

  /** Notes that an invocation is to be cancelled that another server has the lease of. Returns whether one has. */
  async askToCancel(statements: Statements, invocation_id: string): Promise<boolean> {
    const sql =
      "update work set cancelled = true where invocation_id = $invocation_id and state = 'leased' and holder <> $mine";
    return (await statements.run(sql, { invocation_id, mine: this.#holder })) > 0;
  }

  /** Lists those of these attempts of this server that are to be cancelled (`lost` 0) or have lost their leases (1). */
  toEnd(statements: Statements, attempts: readonly AttemptId[]): Promise<EndingAttempt[]> {
    return statements.all<EndingAttempt>(
      `select given.invocation_id, case when work.invocation_id is null then 1 else 0 end as lost
       from json_to_recordset($attempts::text::json) as given (invocation_id text, attempt integer)
       left join work on work.invocation_id = given.invocation_id and work.attempts = given.attempt
         and work.state = 'leased' and work.holder = $holder
       where work.invocation_id is null or work.cancelled`,
      { attempts: JSON.stringify(attempts), holder: this.#holder },
    );
  }

  /** Makes the lease of an attempt last until then at least. Returns the database's time if it still has the lease. */
  async hold(
    statements: Statements,
    invocation_id: string,
    attempt: number,
    lease_until: number,
  ): Promise<number | undefined> {
    const held = await statements.get<{ now: number }>(
      `update work set lease_until = greatest(lease_until, $lease_until::bigint)
       where invocation_id = $invocation_id and attempts = $attempt::integer and state = 'leased' and holder = $holder
       returning (extract(epoch from clock_timestamp()) * 1000)::double precision as now`,
      { invocation_id, attempt, lease_until, holder: this.#holder },
    );
    return held?.now;
  }

  /** Returns work that this transaction goes on to end: leased by this server, or in one of these states. */
  async forEnd(
    statements: Statements,
    { invocation_id, attempt }: { readonly invocation_id: string; readonly attempt: number },
    states: readonly Work["state"][],
  ): Promise<Work | undefined> {
    const work = await statements.get<Work & { readonly holder: string | null }>(
      `select ${COLUMNS}, holder from work where invocation_id = $invocation_id and attempts = $attempt::integer for update`,
      { invocation_id, attempt },
    );
    if (work === undefined || !states.includes(work.state)) return undefined;
    const { holder, ...found } = work;
    return found.state === "leased" && holder !== this.#holder ? undefined : found;
  }

  /** Writes the state of work that nobody holds. */
  async put(statements: Statements, work: Work): Promise<void> {
    const { state, due, attempts, lost_attempts, lease_until, waits_since, invocation_id } = work;
    await statements.run(
      `update work set state = $state, due = $due::bigint, attempts = $attempts::integer, holder = null,
         lost_attempts = $lost_attempts::integer, lease_until = $lease_until::bigint, waits_since = $waits_since::bigint
       where invocation_id = $invocation_id`,
      { state, due, attempts, lost_attempts, lease_until, waits_since, invocation_id },
    );
  }

  async remove(statements: Statements, invocation_id: string): Promise<void> {
    await statements.run("delete from work where invocation_id = $invocation_id", { invocation_id });
  }

  /** Makes ready what has become due, at most a batch, and returns its functions and priorities. */
  wake(statements: Statements, now: number): Promise<ReadyWork[]> {
    return statements.all<ReadyWork>(
      `with batch as (
         select invocation_id from work where state = 'waiting' and due <= $now::bigint
         order by due limit ${BATCH} for update skip locked)
       update work set state = 'ready' from batch where work.invocation_id = batch.invocation_id
       returning function_id, priority`,
      { now },
    );
  }

  /** Returns the time at which the next waiting work is due; null if none waits. */
  async soonest(statements: Statements): Promise<number | null> {
    const sql = "select min(due) as due from work where state = 'waiting'";
    return (await statements.get<{ due: number | null }>(sql))?.due ?? null;
  }

  /** Marks the work that this server has leased as lost: an earlier process of it has ended. Returns how much it was. */
  loseLeases(statements: Statements): Promise<number> {
    return statements.run("update work set state = 'lost' where state = 'leased' and holder = $holder", {
      holder: this.#holder,
    });
  }

  /**
   * Marks work as lost whose leases have ended: other servers have not renewed them, or this one does not know that it has them,
   * as the database went away when it took them. It attempts those that are given. Work `ofOthers` is left alone if that is false.
   */
  async loseEnded(
    statements: Statements,
    { now, attempted, ofOthers }: { now: number; attempted: Iterable<string>; ofOthers: boolean },
  ): Promise<void> {
    await statements.run(
      `update work set state = 'lost' where state = 'leased' and lease_until <= ${ENDED} and (
         (holder <> $holder and $of_others::integer = 1 and clock_timestamp() >= pg_postmaster_start_time() + $pause::integer * interval '1 millisecond')
         or (holder = $holder and ${ATTEMPT} not in (select json_array_elements_text($attempted::text::json))))`,
      {
        now,
        holder: this.#holder,
        attempted: JSON.stringify([...attempted]),
        of_others: ofOthers ? 1 : 0,
        pause: this.#pauseMs,
      },
    );
  }

  /**
   * Lists lost work whose lease has ended by then, at most a batch. Without an end of time it is the work of this server alone:
   * only its own sweep says that nothing of it runs any more.
   */
  lost(statements: Statements, until: number): Promise<LostWork[]> {
    const all = `select ${COLUMNS}, cancelled::integer as cancelled from work where state = 'lost'`;
    const first = `order by lease_until limit ${BATCH}`;
    return until === Infinity
      ? statements.all<LostWork>(`${all} and holder = $mine ${first}`, { mine: this.#holder })
      : statements.all<LostWork>(`${all} and lease_until <= ${ENDED} ${first}`, { now: until });
  }

  /** Lists the functions that have something to do, each with its highest priority. */
  ready(statements: Statements): Promise<ReadyWork[]> {
    return statements.all<ReadyWork>(
      "select function_id, max(priority) as priority from work where state = 'ready' group by function_id",
    );
  }

  /** Lets waits begin now that began after `furthest`, at most a batch; returns them with the times at which they end. */
  takeBack(statements: Statements, now: number, furthest: number): Promise<Pick<Work, "invocation_id" | "due">[]> {
    return statements.all<Pick<Work, "invocation_id" | "due">>(
      `with batch as (
         select invocation_id from work where state = 'waiting' and waits_since > $furthest::bigint
         order by invocation_id limit ${BATCH} for update)
       update work set due = $now::bigint + due - waits_since, waits_since = $now::bigint
       from batch where work.invocation_id = batch.invocation_id returning work.invocation_id, due`,
      { now, furthest },
    );
  }

  /** Lets the leases of lost work end at `longest` if they would end later. Returns how many these were. */
  shortenLeases(statements: Statements, longest: number): Promise<number> {
    return statements.run(
      "update work set lease_until = $longest::bigint where state = 'lost' and lease_until > $longest::bigint",
      { longest },
    );
  }

  async count(statements: Statements): Promise<number> {
    return (await statements.get<{ count: number }>("select count(*) as count from work"))?.count ?? 0;
  }
}
