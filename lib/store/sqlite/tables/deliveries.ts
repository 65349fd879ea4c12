import { type Delivery, receiverOf } from "../../../domain/calls/callbacks.ts";
import { CALLBACK } from "../../../domain/limits.ts";
import { furthest } from "../../../domain/time/set-back.ts";
import type { WaitingReceiver } from "../../ledger.ts";
import type { Database, Statement } from "../database/database.ts";

const COLUMNS = [
  "invocation_id",
  "url",
  "state",
  "due",
  "since",
  "attempts",
  "last_status",
  "last_problem",
  "created_at",
  "delivered_at",
] as const;

/** The most rows that are changed at once: a millisecond or two of the event loop. */
const BATCH = 500;

/** Results that are to be sent, the only place of their SQL. The methods are part of the caller's transaction. */
export class DeliveryTable {
  readonly #insert: Statement<never>;
  readonly #update: Statement<never>;
  readonly #get: Statement<Delivery>;
  readonly #receivers: Statement<WaitingReceiver>;
  readonly #due: Statement<Delivery>;
  readonly #takeBack: Statement<never>;

  constructor(database: Database) {
    const columns = COLUMNS.join();
    this.#insert = database.prepare(
      `insert into deliveries (${columns}, receiver) values (${COLUMNS.map((column) => `$${column}`).join()}, $receiver)`,
    );
    this.#update = database.prepare(
      `update deliveries set ${COLUMNS.map((column) => `${column} = $${column}`).join()}
       where invocation_id = $invocation_id`,
    );
    this.#get = database.prepare(`select ${columns} from deliveries where invocation_id = $invocation_id`);
    this.#due = database.prepare(
      `select ${columns} from deliveries where state = 'waiting' and receiver = $receiver and due <= $now
       order by due limit $limit`,
    );
    // From one receiver to the next one by the index, however many deliveries wait for each.
    this.#receivers = database.prepare(
      `with recursive receivers (receiver) as (
         select min(receiver) from deliveries where state = 'waiting'
         union all
         select (select min(receiver) from deliveries where state = 'waiting' and receiver > receivers.receiver)
         from receivers where receiver is not null)
       select receiver,
         (select min(due) from deliveries where state = 'waiting' and receiver = receivers.receiver) as due
       from receivers where receiver is not null`,
    );
    this.#takeBack = database.prepare(
      `update deliveries set due = min(due, $now), since = min(since, $now) where invocation_id in (
         select invocation_id from deliveries where state = 'waiting' and (due > $latest or since > $furthest)
         limit ${BATCH})`,
    );
  }

  insert(delivery: Delivery): void {
    this.#insert.run({ ...delivery, receiver: receiverOf(delivery.url) });
  }

  get(invocation_id: string): Delivery | undefined {
    return this.#get.get({ invocation_id });
  }

  /** Lists the receivers that deliveries wait for, each with the time at which the next one is due. */
  receivers(): WaitingReceiver[] {
    return this.#receivers.all();
  }

  /** Lists a receiver's deliveries due at a moment (milliseconds since the epoch), those that have waited longest first. */
  due(receiver: string, now: number, limit: number): Delivery[] {
    return this.#due.all({ receiver, now, limit });
  }

  /** Makes due now what would be later than any wait allows, and lets what a clock that was ahead began begin now; returns how many. */
  takeBack(now: number): number {
    return this.#takeBack.run({ now, latest: furthest(now) + CALLBACK.max_ms, furthest: furthest(now) });
  }

  /** Writes the state of a delivery. */
  put(delivery: Delivery): void {
    this.#update.run({ ...delivery });
  }
}
