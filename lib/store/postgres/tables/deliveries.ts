import { type Delivery, receiverOf } from "../../../domain/calls/callbacks.ts";
import { CALLBACK } from "../../../domain/limits.ts";
import { furthest } from "../../../domain/time/set-back.ts";
import type { WaitingReceiver } from "../../ledger.ts";
import type { Bindings } from "../client/statement.ts";
import type { Statements } from "../client/client.ts";

type Row = Pick<Delivery, "state" | "due" | "since"> & { readonly record: string };

const COLUMNS = "record, state, due, since";

/** The most rows that are changed at once. */
const BATCH = 500;

/** The time for which a server has a delivery that it sends: longer than an attempt may take. */
const HELD_MS = 10 * CALLBACK.timeout_ms;

/** Results that are to be sent, the only place of their SQL. */
export class DeliveryTable {
  readonly #holder: string;

  constructor(holder: string) {
    this.#holder = holder;
  }

  async insert(statements: Statements, delivery: Delivery): Promise<void> {
    await statements.run(
      `insert into deliveries (invocation_id, receiver, state, due, since, record)
       values ($invocation_id, $receiver, $state, $due::bigint, $since::bigint, $record)`,
      { ...row(delivery), receiver: receiverOf(delivery.url) },
    );
  }

  /** Returns a delivery; `lock` if this transaction goes on to write it. */
  async get(statements: Statements, invocation_id: string, lock = false): Promise<Delivery | undefined> {
    const sql = `select ${COLUMNS} from deliveries where invocation_id = $invocation_id ${lock ? "for update" : ""}`;
    const found = await statements.get<Row>(sql, { invocation_id });
    return found && deliveryOf(found);
  }

  /** Lists the receivers that deliveries wait for, each with the time at which the next one is due. */
  receivers(statements: Statements): Promise<WaitingReceiver[]> {
    return statements.all<WaitingReceiver>(
      `with recursive receivers (receiver) as (
         select min(receiver) from deliveries where state = 'waiting'
         union all
         select (select min(receiver) from deliveries where state = 'waiting' and receiver > receivers.receiver)
         from receivers where receiver is not null)
       select receiver,
         (select min(due) from deliveries where state = 'waiting' and deliveries.receiver = receivers.receiver) as due
       from receivers where receiver is not null`,
    );
  }

  /** Lists a receiver's due deliveries, those that have waited longest first, which no other server sends from then on. */
  async due(statements: Statements, receiver: string, now: number, limit: number): Promise<Delivery[]> {
    const rows = await statements.all<Row>(
      `with mine as (
         select invocation_id from deliveries where state = 'waiting' and receiver = $receiver and due <= $now::bigint
           and (holder is null or holder = $holder or held_until <= $now::bigint)
         order by due limit $limit::bigint for update skip locked)
       update deliveries set holder = $holder, held_until = $held_until::bigint from mine
       where deliveries.invocation_id = mine.invocation_id returning ${COLUMNS}`,
      { receiver, now, limit, holder: this.#holder, held_until: now + HELD_MS },
    );
    return rows.map(deliveryOf).toSorted((one, other) => one.due - other.due);
  }

  /** Makes due now what would be later than any wait allows, and lets what a clock that was ahead began begin now; returns how many. */
  takeBack(statements: Statements, now: number): Promise<number> {
    return statements.run(
      `with batch as materialized (
         select invocation_id from deliveries
         where state = 'waiting' and (due > $latest::bigint or since > $furthest::bigint) limit ${BATCH})
       update deliveries set due = least(due, $now::bigint), since = least(since, $now::bigint)
       from batch where deliveries.invocation_id = batch.invocation_id`,
      { now, latest: furthest(now) + CALLBACK.max_ms, furthest: furthest(now) },
    );
  }

  /** Writes the state of a delivery; any server may send it from then on. */
  async put(statements: Statements, delivery: Delivery): Promise<void> {
    await statements.run(
      `update deliveries set state = $state, due = $due::bigint, since = $since::bigint, record = $record,
         holder = null, held_until = null
       where invocation_id = $invocation_id`,
      row(delivery),
    );
  }
}

function row(delivery: Delivery): Bindings {
  const { invocation_id, state, due, since } = delivery;
  return { invocation_id, state, due, since, record: JSON.stringify(delivery) };
}

function deliveryOf({ record, ...columns }: Row): Delivery {
  return { ...(JSON.parse(record) as Delivery), ...columns }; // `row` made it
}
