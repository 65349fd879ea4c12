import type { ReadyWork, Work } from "../../records.ts";
import type { Bindings, Database, Statement } from "../database/database.ts";

/** The most rows that are moved at once: a millisecond or two of the event loop. */
const BATCH = 500;

/**
 * The work that is left to do, the only place of its SQL. The methods are part of the caller's transaction.
 *
 * Every question here is one look into an index, however many wait: work that is due later has an index of its own, and
 * within a function the next one is the first of those that are ready.
 */
export class WorkTable {
  readonly #insert: Statement<never>;
  readonly #get: Statement<Work>;
  readonly #next: Statement<Work>;
  readonly #lease: Statement<never>;
  readonly #giveBack: Statement<never>;
  readonly #renew: Statement<never>;
  readonly #hold: Statement<never>;
  readonly #put: Statement<never>;
  readonly #remove: Statement<never>;
  readonly #wake: Statement<{ function_id: string; priority: number }>;
  readonly #soonest: Statement<{ due: number | null }>;
  readonly #lost: Statement<Work>;
  readonly #loseLeases: Statement<never>;
  readonly #ready: Statement<ReadyWork>;
  readonly #takeBack: Statement<Pick<Work, "invocation_id" | "due">>;
  readonly #shortenLeases: Statement<never>;
  readonly #count: Statement<{ count: number }>;

  constructor(database: Database) {
    const columns =
      "invocation_id, function_id, state, priority, due, attempts, lost_attempts, lease_until, waits_since";
    this.#insert = database.prepare(
      `insert into work (${columns})
       values ($invocation_id, $function_id, $state, $priority, $due, $attempts, $lost_attempts, $lease_until, $waits_since)`,
    );
    this.#get = database.prepare(`select ${columns} from work where invocation_id = $invocation_id`);
    this.#next = database.prepare(
      `select ${columns} from work where function_id = $function_id and state = 'ready'
       order by priority desc, due, invocation_id limit 1`,
    );
    this.#lease = database.prepare(
      `update work set state = 'leased', lease_until = $lease_until, attempts = attempts + 1
       where invocation_id = $invocation_id and state = 'ready'`,
    );
    this.#giveBack = database.prepare(
      `update work set state = 'ready', lease_until = null, attempts = attempts - 1
       where invocation_id = $invocation_id and attempts = $attempt and state = 'leased'`,
    );
    this.#renew = database.prepare(
      "update work set lease_until = max(lease_until, $lease_until) where state = 'leased'",
    );
    this.#hold = database.prepare(
      `update work set lease_until = max(lease_until, $lease_until)
       where invocation_id = $invocation_id and attempts = $attempt and state = 'leased'`,
    );
    this.#put = database.prepare(
      `update work set state = $state, due = $due, attempts = $attempts, lost_attempts = $lost_attempts,
         lease_until = $lease_until, waits_since = $waits_since
       where invocation_id = $invocation_id`,
    );
    this.#remove = database.prepare("delete from work where invocation_id = $invocation_id");
    this.#wake = database.prepare(
      `update work set state = 'ready' where invocation_id in (
         select invocation_id from work where state = 'waiting' and due <= $now order by due limit ${BATCH})
       returning function_id, priority`,
    );
    this.#soonest = database.prepare("select min(due) as due from work where state = 'waiting'");
    this.#lost = database.prepare(
      `select ${columns} from work where state = 'lost' and lease_until <= $until order by lease_until limit ${BATCH}`,
    );
    this.#loseLeases = database.prepare("update work set state = 'lost' where state = 'leased'");
    this.#ready = database.prepare(
      "select function_id, max(priority) as priority from work where state = 'ready' group by function_id",
    );
    this.#takeBack = database.prepare(
      `update work set due = $now + due - waits_since, waits_since = $now where invocation_id in (
         select invocation_id from work where state = 'waiting' and waits_since > $furthest limit ${BATCH})
       returning invocation_id, due`,
    );
    this.#shortenLeases = database.prepare(
      "update work set lease_until = $longest where state = 'lost' and lease_until > $longest",
    );
    this.#count = database.prepare("select count(*) as count from work");
  }

  insert(work: Work): void {
    this.#insert.run(row(work));
  }

  get(invocation_id: string): Work | undefined {
    return this.#get.get({ invocation_id });
  }

  /** Returns the next work of a function: the highest priority first, then what was due first. */
  next(function_id: string): Work | undefined {
    return this.#next.get({ function_id });
  }

  /** Takes work that is ready, and counts the attempt. Returns whether it was still ready. */
  lease(invocation_id: string, lease_until: number): boolean {
    return this.#lease.run({ invocation_id, lease_until }) > 0;
  }

  /** Gives back work whose attempt was not begun, and does not count it. Returns whether the attempt still had its lease. */
  giveBack(invocation_id: string, attempt: number): boolean {
    return this.#giveBack.run({ invocation_id, attempt }) > 0;
  }

  /** Renews all leases; none of them ends earlier than it did. */
  renew(lease_until: number): void {
    this.#renew.run({ lease_until });
  }

  /** Makes the lease of an attempt last until then at least. Returns whether it still has the lease. */
  hold(invocation_id: string, attempt: number, lease_until: number): boolean {
    return this.#hold.run({ invocation_id, attempt, lease_until }) > 0;
  }

  /** Writes the state of work. */
  put(work: Work): void {
    const { state, due, attempts, lost_attempts, lease_until, waits_since, invocation_id } = work;
    this.#put.run({ state, due, attempts, lost_attempts, lease_until, waits_since, invocation_id });
  }

  remove(invocation_id: string): void {
    this.#remove.run({ invocation_id });
  }

  /** Makes ready what has become due, at most a batch, and returns its functions and priorities. */
  wake(now: number): ReadyWork[] {
    return this.#wake.all({ now });
  }

  /** Returns the time at which the next waiting work is due; null if none waits. */
  soonest(): number | null {
    return this.#soonest.get()?.due ?? null;
  }

  /** Marks all leased work as lost: the server that held the leases has ended. Returns how much it was. */
  loseLeases(): number {
    return this.#loseLeases.run();
  }

  /** Lists lost work whose lease has ended by then, at most a batch. */
  lost(until: number): Work[] {
    return this.#lost.all({ until });
  }

  /** Lists the functions that have something to do, each with its highest priority. */
  ready(): ReadyWork[] {
    return this.#ready.all();
  }

  /** Lets waits begin now that began after `furthest`, at most a batch; returns them with the times at which they end. */
  takeBack(now: number, furthest: number): Pick<Work, "invocation_id" | "due">[] {
    return this.#takeBack.all({ now, furthest });
  }

  /** Lets the leases of lost work end at `longest` if they would end later. Returns how many these were. */
  shortenLeases(longest: number): number {
    return this.#shortenLeases.run({ longest });
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }
}

function row(work: Work): Bindings {
  return { ...work };
}
