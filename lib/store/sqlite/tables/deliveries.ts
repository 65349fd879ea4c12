import type { Delivery } from "../../../domain/calls/callbacks.ts";
import type { Database, Statement } from "../database/database.ts";

const COLUMNS = [
  ...["invocation_id", "url", "state", "due", "attempts", "last_status", "last_problem", "created_at", "delivered_at"],
] as const;

/** Results that are to be sent to someone, the only place of their SQL. */
export class DeliveryStore {
  readonly #database: Database;
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #get: Statement<Delivery>;
  readonly #due: Statement<Delivery>;
  readonly #soonest: Statement<{ due: number | null }>;

  constructor(database: Database) {
    this.#database = database;
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

  /** Part of the caller's transaction. */
  insert(delivery: Delivery): void {
    this.#insert.run({ ...delivery });
  }

  get(invocation_id: string): Delivery | undefined {
    return this.#get.get({ invocation_id });
  }

  /** What is due at a moment (milliseconds since the epoch), what has waited longest first. */
  due(now: number, limit: number): Delivery[] {
    return this.#due.all({ now, limit });
  }

  /** When the first one becomes due after a moment; null where none does. */
  soonest(now: number): number | null {
    return this.#soonest.get({ now })?.due ?? null;
  }

  /** Writes how things stand. A machine that loses power may forget it: then the result is sent once more. */
  save(delivery: Delivery): void {
    this.#database.transaction("fast", () => this.#update.run({ ...delivery }));
  }

  /**
   * Replaces a delivery by what `change` makes of it as it is then; what that throws leaves it as it is. Undefined where
   * there is none.
   */
  change(invocation_id: string, change: (current: Delivery) => Delivery): Promise<Delivery | undefined> {
    return this.#database.durably(() => {
      const before = this.get(invocation_id);
      if (before === undefined) return undefined;
      const after = change(before);
      this.#update.run({ ...after });
      return after;
    });
  }
}
