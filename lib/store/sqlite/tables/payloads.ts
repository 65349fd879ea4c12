import type { Payload } from "../../records.ts";
import type { Database, Statement } from "../database/database.ts";

/** Requests and results that are kept, the only place of their SQL. The methods are part of the caller's transaction. */
export class PayloadTable {
  readonly #put: Statement<never>;
  readonly #answer: Statement<never>;
  readonly #get: Statement<Payload>;
  readonly #has: Statement<unknown>;
  readonly #copy: Statement<never>;

  constructor(database: Database) {
    this.#put = database.prepare(
      `insert or replace into payloads (invocation_id, request, request_meta, response, response_meta)
       values ($invocation_id, $request, $request_meta, $response, $response_meta)`,
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
  }

  /** Keeps a request, and its answer if there is one already. */
  put(payload: Payload): void {
    this.#put.run({ ...payload });
  }

  /** Keeps the answer of an invocation whose request is kept. */
  answer(invocation_id: string, answer: Pick<Payload, "response" | "response_meta">): void {
    this.#answer.run({ invocation_id, response: answer.response, response_meta: answer.response_meta });
  }

  /** Keeps the request of another invocation for this one. Returns whether the other one still has it. */
  copyRequest(invocation_id: string, copy_of: string): boolean {
    return this.#copy.run({ invocation_id, copy_of }) > 0;
  }

  has(invocation_id: string): boolean {
    return this.#has.get({ invocation_id }) !== undefined;
  }

  get(invocation_id: string): Payload | undefined {
    return this.#get.get({ invocation_id });
  }
}
