import type { Delivery } from "../../../domain/calls/callbacks.ts";
import type { Database, Statement } from "../database/database.ts";

const COLUMNS = [
  "invocation_id",
  "url",
  "state",
  "due",
  "attempts",
  "last_status",
  "last_problem",
  "created_at",
  "delivered_at",
] as const;

/** Results that are to be sent, the only place of their SQL. The methods are part of the caller's transaction. */
export class DeliveryTable {
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #get: Statement<Delivery>;
  readonly #due: Statement<Delivery>;
  readonly #soonest: Statement<{ due: number | null }>;

  constructor(database: Database) {
    const columns = COLUMNS.join();
    this.#insert = database.prepare(
      `insert into deliveries (${columns}) values (${COLUMNS.map((column) => `$${column}`).join()})`,
    );
    this.#update = database.prepare(
      `update deliveries set ${COLUMNS.map((column) => `${column} = $${column}`).join()}
       where invocation_id = $invocation_id`,
    );
    this.#get = database.prepare(`select ${columns} from deliveries where invocation_id = $invocation_id`);
    this.#due = database.prepare(
      `select ${columns} from deliveries where state = 'waiting' and due <= $now order by due limit $limit`,
    );
    this.#soonest = database.prepare("select min(due) as due from deliveries where state = 'waiting' and due > $now");
  }

  insert(delivery: Delivery): void {
    this.#insert.run({ ...delivery });
  }

  get(invocation_id: string): Delivery | undefined {
    return this.#get.get({ invocation_id });
  }

  /** Lists the deliveries due at a moment (milliseconds since the epoch), those that have waited longest first. */
  due(now: number, limit: number): Delivery[] {
    return this.#due.all({ now, limit });
  }

  /** Returns the time at which the first one after a moment becomes due; null if none does. */
  soonest(now: number): number | null {
    return this.#soonest.get({ now })?.due ?? null;
  }

  /** Writes the state of a delivery. */
  put(delivery: Delivery): void {
    this.#update.run({ ...delivery });
  }
}
