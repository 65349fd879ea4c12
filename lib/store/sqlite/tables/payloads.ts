import type { Database, Statement } from "../database/database.ts";

/** The request and the answer of an invocation, as far as they are kept. */
export interface Payload {
  readonly invocation_id: string;
  readonly request: Uint8Array;
  /** The rest of the request as JSON: method, url, headers, via. Null for JSON that no HTTP request brought. */
  readonly request_meta: string | null;
  /** The body of the answer; null until there is one. */
  readonly response: Uint8Array | null;
  /** The rest of the answer as JSON: status, headers. Null like `response`. */
  readonly response_meta: string | null;
}

/** Requests and answers that are kept. The methods are part of the caller's transaction. */
export class PayloadStore {
  readonly #put: Statement<never>;
  readonly #answer: Statement<never>;
  readonly #get: Statement<Payload>;

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
  }

  /** Keeps a request, and its answer if there is one already. */
  put(payload: Payload): void {
    this.#put.run({ ...payload });
  }

  /** Keeps the answer of an invocation whose request is kept. */
  answer(invocation_id: string, answer: Pick<Payload, "response" | "response_meta">): void {
    this.#answer.run({ invocation_id, response: answer.response, response_meta: answer.response_meta });
  }

  get(invocation_id: string): Payload | undefined {
    return this.#get.get({ invocation_id });
  }
}
