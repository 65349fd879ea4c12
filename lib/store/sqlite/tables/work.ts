import type { Bindings, Database, Statement } from "../database/database.ts";

/** An invocation that waits for an attempt, or is being attempted. */
export interface Work {
  readonly invocation_id: string;
  readonly function_id: string;
  readonly state: "waiting" | "ready" | "leased" | "lost";
  readonly priority: number;
  /** Not before this moment; milliseconds since the epoch. */
  readonly due: number;
  /** Attempts that were begun, lost ones among them. */
  readonly attempts: number;
  readonly lost_attempts: number;
  /** Until when nobody else may attempt it, where it is held; milliseconds since the epoch. */
  readonly lease_until: number | null;
}

/** How much of its work each function has that could be done now. */
export interface ReadyWork {
  readonly function_id: string;
  readonly priority: number;
}

/** At most so many are moved at once: a millisecond or two of the event loop. */
const BATCH = 500;

/**
 * What is left to do, the only place of its SQL. The methods are statements, not transactions: what belongs together
 * with the record of an invocation is put into one by the caller (`WorkStore.fast`, `.durably`).
 *
 * Every question here is one look into an index, however many wait: what is due later has an index of its own, and
 * within a function the next one is the first of what is ready.
 */
export class WorkStore {
  readonly #database: Database;
  readonly #insert: Statement<never>;
  readonly #get: Statement<Work>;
  readonly #next: Statement<Work>;
  readonly #lease: Statement<never>;
  readonly #renew: Statement<never>;
  readonly #hold: Statement<never>;
  readonly #put: Statement<never>;
  readonly #remove: Statement<never>;
  readonly #wake: Statement<{ function_id: string; priority: number }>;
  readonly #soonest: Statement<{ due: number | null }>;
  readonly #lost: Statement<Work>;
  readonly #loseLeases: Statement<never>;
  readonly #ready: Statement<ReadyWork>;
  readonly #count: Statement<{ count: number }>;

  constructor(database: Database) {
    this.#database = database;
    const columns = "invocation_id, function_id, state, priority, due, attempts, lost_attempts, lease_until";
    this.#insert = database.prepare(
      `insert into work (${columns})
       values ($invocation_id, $function_id, $state, $priority, $due, $attempts, $lost_attempts, $lease_until)`,
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
    this.#renew = database.prepare(
      "update work set lease_until = max(lease_until, $lease_until) where state = 'leased'",
    );
    this.#hold = database.prepare(
      `update work set lease_until = max(lease_until, $lease_until)
       where invocation_id = $invocation_id and state = 'leased'`,
    );
    this.#put = database.prepare(
      `update work set state = $state, due = $due, attempts = $attempts, lost_attempts = $lost_attempts,
         lease_until = $lease_until
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
    this.#count = database.prepare("select count(*) as count from work");
  }

  /** One transaction that survives the death of the process; it must not await. */
  fast<T>(change: () => T): T {
    return this.#database.transaction("fast", change);
  }

  /** One transaction that is on the disk when the promise is fulfilled. */
  durably<T>(change: () => T): Promise<T> {
    return this.#database.durably(change);
  }

  insert(work: Work): void {
    this.#insert.run(row(work));
  }

  get(invocation_id: string): Work | undefined {
    return this.#get.get({ invocation_id });
  }

  /** What a function has to do next: the highest priority first, then what was due first. */
  next(function_id: string): Work | undefined {
    return this.#next.get({ function_id });
  }

  /** Takes what is ready, and counts the attempt. Returns whether it was still ready. */
  lease(invocation_id: string, lease_until: number): boolean {
    return this.#lease.run({ invocation_id, lease_until }) > 0;
  }

  /** Renews all leases; none of them ends earlier than it did. */
  renew(lease_until: number): void {
    this.#renew.run({ lease_until });
  }

  /** Makes a lease last until then at least. */
  hold(invocation_id: string, lease_until: number): void {
    this.#hold.run({ invocation_id, lease_until });
  }

  /** Writes how things stand. */
  put(work: Work): void {
    const { state, due, attempts, lost_attempts, lease_until, invocation_id } = work;
    this.#put.run({ state, due, attempts, lost_attempts, lease_until, invocation_id });
  }

  remove(invocation_id: string): void {
    this.#remove.run({ invocation_id });
  }

  /** Makes ready what has become due, at most a batch, and tells whose it is. */
  wake(now: number): ReadyWork[] {
    return this.#wake.all({ now });
  }

  /** When the next of what waits is due; null where nothing does. */
  soonest(): number | null {
    return this.#soonest.get()?.due ?? null;
  }

  /** What was leased is lost: who held the leases is no more. Returns how much it was. */
  loseLeases(): number {
    return this.#loseLeases.run();
  }

  /** What was lost and whose lease has ended by then, at most a batch. */
  lost(until: number): Work[] {
    return this.#lost.all({ until });
  }

  /** The functions that have something to do, each with its highest priority. */
  ready(): ReadyWork[] {
    return this.#ready.all();
  }

  count(): number {
    return this.#count.get()?.count ?? 0;
  }
}

function row(work: Work): Bindings {
  return { ...work };
}
