import { noRoom, sizeOf } from "../../ledger-rules.ts";
import type { Payload } from "../../records.ts";
import type { Database, Statement } from "../database/database.ts";

/** The payloads that are removed at once, and their bytes: some 10 ms of the event loop. */
const BATCH = 100;
const BATCH_BYTES = 16 * 1024 * 1024;

/** The bytes of all payloads, and those of payloads that nothing needs any more. */
interface Totals {
  readonly bytes: number;
  readonly settled_bytes: number;
}

interface Settled {
  readonly invocation_id: string;
  readonly bytes: number;
}

/**
 * Requests and results that are kept, and their sizes, the only place of their SQL. The methods are part of the caller's
 * transaction.
 *
 * All of them together have at most `budget` bytes. A payload is *settled* once its invocation has ended and its result
 * need not be sent: the oldest settled ones make room for results, and `trim` keeps half of the budget free of them, so
 * that results that nobody reads cannot keep the server from taking new work.
 */
export class PayloadTable {
  readonly #budget: number;
  readonly #put: Statement<never>;
  readonly #answer: Statement<never>;
  readonly #get: Statement<Payload>;
  readonly #has: Statement<unknown>;
  readonly #copy: Statement<never>;
  readonly #remove: Statement<never>;
  readonly #putSize: Statement<never>;
  readonly #addSize: Statement<never>;
  readonly #copySize: Statement<never>;
  readonly #sizeOf: Statement<{ bytes: number }>;
  readonly #settle: Statement<never>;
  readonly #settled: Statement<Settled>;
  readonly #totals: Statement<Totals>;

  constructor(database: Database, budget = Infinity) {
    this.#budget = budget;
    this.#put = database.prepare(
      `insert into payloads (invocation_id, request, request_meta, response, response_meta)
       values ($invocation_id, $request, $request_meta, $response, $response_meta)
       on conflict (invocation_id) do update set request = excluded.request, request_meta = excluded.request_meta,
         response = excluded.response, response_meta = excluded.response_meta`,
    );
    this.#answer = database.prepare(
      "update payloads set response = $response, response_meta = $response_meta where invocation_id = $invocation_id",
    );
    this.#get = database.prepare(
      `select invocation_id, request, request_meta, response, response_meta from payloads
       where invocation_id = $invocation_id`,
    );
    this.#has = database.prepare("select 1 from payloads where invocation_id = $invocation_id");
    this.#copy = database.prepare(
      `insert into payloads (invocation_id, request, request_meta, response, response_meta)
       select $invocation_id, request, request_meta, null, null from payloads where invocation_id = $copy_of`,
    );
    this.#remove = database.prepare("delete from payloads where invocation_id = $invocation_id");
    // Not "or replace", whose deletions no trigger sees.
    this.#putSize = database.prepare(
      `insert into payload_sizes (invocation_id, bytes, settled_at) values ($invocation_id, $bytes, $settled_at)
       on conflict (invocation_id) do update set bytes = excluded.bytes, settled_at = excluded.settled_at`,
    );
    this.#addSize = database.prepare(
      "update payload_sizes set bytes = bytes + $bytes where invocation_id = $invocation_id",
    );
    this.#copySize = database.prepare(
      `insert into payload_sizes (invocation_id, bytes, settled_at)
       select invocation_id, octet_length(request) + coalesce(octet_length(request_meta), 0), null
       from payloads where invocation_id = $invocation_id`,
    );
    this.#sizeOf = database.prepare("select bytes from payload_sizes where invocation_id = $invocation_id");
    this.#settle = database.prepare(
      "update payload_sizes set settled_at = $settled_at where invocation_id = $invocation_id",
    );
    this.#settled = database.prepare(
      `select invocation_id, bytes from payload_sizes where settled_at is not null
       order by settled_at, invocation_id limit ${BATCH}`,
    );
    this.#totals = database.prepare("select bytes, settled_bytes from payload_total");
  }

  /** Keeps a request, and its answer if there is one already. `settledAt` is in milliseconds since the epoch. */
  put(payload: Payload, settledAt: number | null = null): void {
    const { invocation_id } = payload;
    this.#put.run({ ...payload });
    this.#putSize.run({ invocation_id, bytes: sizeOf(payload), settled_at: settledAt });
  }

  /** Keeps the answer of an invocation whose request is kept. */
  answer(invocation_id: string, answer: Pick<Payload, "response" | "response_meta">): void {
    this.#answer.run({ invocation_id, response: answer.response, response_meta: answer.response_meta });
    this.#addSize.run({ invocation_id, bytes: sizeOf(answer) });
  }

  /** Keeps the request of another invocation for this one. Returns whether the other one still has it. */
  copyRequest(invocation_id: string, copy_of: string): boolean {
    if (this.#copy.run({ invocation_id, copy_of }) === 0) return false;
    this.#copySize.run({ invocation_id });
    return true;
  }

  has(invocation_id: string): boolean {
    return this.#has.get({ invocation_id }) !== undefined;
  }

  get(invocation_id: string): Payload | undefined {
    return this.#get.get({ invocation_id });
  }

  /** Removes what is kept of an invocation. */
  remove(invocation_id: string): void {
    this.#remove.run({ invocation_id });
  }

  /** Returns the bytes that are kept of an invocation, 0 if nothing is. */
  bytesOf(invocation_id: string): number {
    return this.#sizeOf.get({ invocation_id })?.bytes ?? 0;
  }

  /** Notes from when nothing needs the payload any more (milliseconds since the epoch), or with null that something does. */
  settle(invocation_id: string, settled_at: number | null): void {
    this.#settle.run({ invocation_id, settled_at });
  }

  /** The bytes of all payloads, and those of settled ones. */
  get totals(): Totals {
    return this.#totals.get() ?? { bytes: 0, settled_bytes: 0 };
  }

  /** Throws `storage_full` if the budget has no room for so many bytes more. */
  requireRoom(bytes: number): void {
    if (this.totals.bytes + bytes <= this.#budget) return;
    throw noRoom(this.#budget, bytes);
  }

  /** Makes room for so many bytes by removing the oldest settled payloads, and returns whether there is enough now. */
  makeRoom(bytes: number): boolean {
    const excess = this.totals.bytes + bytes - this.#budget;
    return excess <= 0 || this.#removeSettled(excess) >= excess;
  }

  /** Removes a batch of the oldest settled payloads if all of them take more than half of the budget; returns how many bytes. */
  trim(): number {
    const excess = this.totals.settled_bytes - this.#budget / 2;
    return excess <= 0 ? 0 : this.#removeSettled(excess);
  }

  #removeSettled(excess: number): number {
    let removed = 0;
    for (const { invocation_id, bytes } of this.#settled.all()) {
      if (removed >= excess || removed >= BATCH_BYTES) break;
      this.remove(invocation_id);
      removed += bytes;
    }
    return removed;
  }
}
