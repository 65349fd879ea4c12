import { noRoom, sizeOf } from "../../ledger-rules.ts";
import type { Payload } from "../../records.ts";
import type { Statements } from "../client/client.ts";

/** The payloads that are removed at once, and their bytes. */
const BATCH = 100;
const BATCH_BYTES = 16 * 1024 * 1024;

/** The bytes of all payloads, and those of payloads that nothing needs any more. */
interface Totals {
  readonly bytes: number;
  readonly settled_bytes: number;
}

/** Requests and results that are kept within a budget, the only place of their SQL; see the table of SQLite for what is settled. */
export class PayloadTable {
  /** The most bytes of all of them. */
  readonly budget: number;

  constructor(budget = Infinity) {
    this.budget = budget;
  }

  /** Keeps a request, and its answer if there is one already. `settledAt` is in milliseconds since the epoch. */
  async put(statements: Statements, payload: Payload, settledAt: number | null = null): Promise<void> {
    const { invocation_id, request, request_meta, response, response_meta } = payload;
    await statements.run(
      `insert into payloads (invocation_id, request, request_meta, response, response_meta, bytes, settled_at)
       values ($invocation_id, $request, $request_meta, $response, $response_meta, $bytes::bigint, $settled_at::bigint)
       on conflict (invocation_id) do update set request = excluded.request, request_meta = excluded.request_meta,
         response = excluded.response, response_meta = excluded.response_meta, bytes = excluded.bytes,
         settled_at = excluded.settled_at`,
      { invocation_id, request, request_meta, response, response_meta, bytes: sizeOf(payload), settled_at: settledAt },
    );
  }

  /** Keeps the answer of an invocation whose request is kept. */
  async answer(
    statements: Statements,
    invocation_id: string,
    { response, response_meta }: Pick<Payload, "response" | "response_meta">,
  ): Promise<void> {
    await statements.run(
      `update payloads set response = $response, response_meta = $response_meta, bytes = bytes + $bytes::bigint
       where invocation_id = $invocation_id`,
      { invocation_id, response, response_meta, bytes: sizeOf({ response, response_meta }) },
    );
  }

  /** Keeps the request of another invocation for this one. Returns whether the other one still has it. */
  async copyRequest(statements: Statements, invocation_id: string, copy_of: string): Promise<boolean> {
    const copied = await statements.run(
      `insert into payloads (invocation_id, request, request_meta, bytes)
       select $invocation_id, request, request_meta, length(request) + coalesce(octet_length(request_meta), 0)
       from payloads where invocation_id = $copy_of`,
      { invocation_id, copy_of },
    );
    return copied > 0;
  }

  async has(statements: Statements, invocation_id: string): Promise<boolean> {
    return (await this.#bytesIfKept(statements, invocation_id)) !== undefined;
  }

  /** Returns the bytes that are kept of an invocation. */
  async bytesOf(statements: Statements, invocation_id: string): Promise<number> {
    return (await this.#bytesIfKept(statements, invocation_id)) ?? 0;
  }

  /** Returns the bytes of everything that is kept. */
  async keptBytes(statements: Statements): Promise<number> {
    return (await this.#totals(statements)).bytes;
  }

  get(statements: Statements, invocation_id: string): Promise<Payload | undefined> {
    return statements.get<Payload>(
      `select invocation_id, request, request_meta, response, response_meta from payloads
       where invocation_id = $invocation_id`,
      { invocation_id },
    );
  }

  /** Removes what is kept of an invocation. */
  async remove(statements: Statements, invocation_id: string): Promise<void> {
    await statements.run("delete from payloads where invocation_id = $invocation_id", { invocation_id });
  }

  /** Notes from when nothing needs a payload any more (milliseconds since the epoch), or with null that something does. */
  async settle(statements: Statements, invocation_id: string, settled_at: number | null): Promise<void> {
    await statements.run("update payloads set settled_at = $settled_at::bigint where invocation_id = $invocation_id", {
      invocation_id,
      settled_at,
    });
  }

  /** Throws `storage_full` if the budget has no room for so many bytes more. */
  async requireRoom(statements: Statements, bytes: number): Promise<void> {
    if (this.budget === Infinity) return;
    if ((await this.#totals(statements)).bytes + bytes > this.budget) throw noRoom(this.budget, bytes);
  }

  /** Makes room for so many bytes by removing the oldest settled payloads, and returns whether there is enough now. */
  async makeRoom(statements: Statements, bytes: number): Promise<boolean> {
    if (this.budget === Infinity) return true;
    const excess = (await this.#totals(statements)).bytes + bytes - this.budget;
    return excess <= 0 || (await this.#removeSettled(statements, excess)) >= excess;
  }

  /** Removes a batch of the oldest settled payloads if all of them take more than half of the budget. */
  async trim(statements: Statements): Promise<void> {
    if (this.budget === Infinity) return;
    const excess = (await this.#totals(statements)).settled_bytes - this.budget / 2;
    if (excess > 0) await this.#removeSettled(statements, excess);
  }

  async #removeSettled(statements: Statements, excess: number): Promise<number> {
    // Those that another transaction is just removing count as gone.
    const settled = await statements.all<{ invocation_id: string; bytes: number }>(
      `select invocation_id, bytes from payloads where settled_at is not null
       order by settled_at, invocation_id limit ${BATCH} for update skip locked`,
    );
    let removed = 0;
    for (const { invocation_id, bytes } of settled) {
      if (removed >= excess || removed >= BATCH_BYTES) break;
      await this.remove(statements, invocation_id);
      removed += bytes;
    }
    return removed;
  }

  async #totals(statements: Statements): Promise<Totals> {
    const found = await statements.get<{ bytes: string; settled_bytes: string }>(
      "select sum(bytes) as bytes, sum(settled_bytes) as settled_bytes from payload_totals",
    );
    return { bytes: Number(found?.bytes ?? 0), settled_bytes: Number(found?.settled_bytes ?? 0) };
  }

  async #bytesIfKept(statements: Statements, invocation_id: string): Promise<number | undefined> {
    const sql = "select bytes from payloads where invocation_id = $invocation_id";
    return (await statements.get<{ bytes: number }>(sql, { invocation_id }))?.bytes;
  }
}
