import type { Clock } from "../../clock.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import { QUEUED } from "../../domain/limits.ts";
import { newWork, noRoom, queueFull, sizeOf, withoutRoom } from "../ledger-rules.ts";
import type { NewInvocation } from "../ledger.ts";
import type { Client, Statements } from "./client/client.ts";
import { type InvocationTable, invocationBindings } from "./tables/invocations.ts";
import type { PayloadTable } from "./tables/payloads.ts";
import type { WorkTable } from "./tables/work.ts";

/** The tables that a submission writes. */
export interface SubmissionTables {
  readonly invocations: InvocationTable;
  readonly payloads: PayloadTable;
  readonly work: WorkTable;
}

/**
 * A submission in one statement, which returns the bytes that are kept if there was no room. The driver would need five turns
 * for a transaction.
 */
const SUBMIT = `
  with room as (
    select $budget::bigint is null or coalesce(sum(bytes), 0) + $bytes::bigint <= $budget::bigint as has from payload_totals),
  record as (
    insert into invocations (id, function_id, status, mode, key_id, replay_of, parent_id, undelivered, created_at, finished_at, holder, record)
    select $id, $function_id, $status, $mode, $key_id, $replay_of, $parent_id, $undelivered, $created_at, $finished_at, $holder, $record
    from room where has returning id),
  payload as (
    insert into payloads (invocation_id, request, request_meta, bytes)
    select id, $request::bytea, $request_meta, $bytes::bigint from record),
  work_left as (
    insert into work (invocation_id, function_id, state, priority, due, attempts, lost_attempts, waits_since)
    select id, $function_id, $state, $priority::integer, $due::bigint, 0, 0, $waits_since::bigint from record)
  select case when has then 1 else 0 end as has from room`;

/** Queues invocations within the limits of the queue and of the budget. */
export class SubmissionWriter {
  readonly #tables: SubmissionTables;
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #holder: string;
  #counted = { at: -Infinity, queued: 0 };

  constructor(client: Client, tables: SubmissionTables, clock: Clock, holder: string) {
    this.#client = client;
    this.#tables = tables;
    this.#clock = clock;
    this.#holder = holder;
  }

  /** Queues an invocation with its request, or throws as `Ledger.submit` does; by itself if no transaction is given. */
  async queue(submission: NewInvocation, statements?: Statements): Promise<Invocation> {
    const { request } = submission;
    const { payloads } = this.#tables;
    if (!("request" in request) && statements !== undefined) {
      await payloads.requireRoom(statements, await this.bytesOf(statements, submission));
      await this.#requirePlace(statements);
      return this.#insert(statements, submission);
    }
    if (!("request" in request)) return this.#client.transaction((transaction) => this.queue(submission, transaction));
    await this.#requirePlace(statements ?? this.#client);
    const { invocation } = submission;
    const { state, due, priority, waits_since } = newWork(submission);
    const bytes = sizeOf(request);
    const row = {
      ...invocationBindings(invocation, this.#holder),
      ...request,
      state,
      due,
      priority,
      waits_since,
      bytes,
    };
    const budget = payloads.budget === Infinity ? null : Math.floor(payloads.budget);
    const run = (on: Statements) => on.get<{ has: number }>(SUBMIT, { ...row, budget });
    // By itself it must not be run twice, as a plain statement would be after a cut.
    const found = await (statements === undefined ? this.#client.transaction(run) : run(statements));
    if (found?.has !== 1) throw noRoom(payloads.budget, bytes);
    return invocation;
  }

  /** Part of a transaction: queues an invocation that follows from another; without room for its request it is dead at once. */
  async follow(statements: Statements, submission: NewInvocation): Promise<void> {
    const { payloads, invocations } = this.#tables;
    if (await payloads.makeRoom(statements, await this.bytesOf(statements, submission))) {
      await this.#insert(statements, submission);
    } else {
      await invocations.put(statements, withoutRoom(submission, this.#clock.now()));
    }
  }

  /** Returns the bytes of the request of an invocation. */
  async bytesOf(statements: Statements, { request }: NewInvocation): Promise<number> {
    return "request" in request ? sizeOf(request) : this.#tables.payloads.bytesOf(statements, request.copy_of);
  }

  async #insert(statements: Statements, submission: NewInvocation): Promise<Invocation> {
    const { invocation, request } = submission;
    const { id } = invocation;
    const { invocations, payloads, work } = this.#tables;
    await invocations.put(statements, invocation);
    if ("request" in request) {
      await payloads.put(statements, { invocation_id: id, ...request, response: null, response_meta: null });
    } else if (!(await payloads.copyRequest(statements, id, request.copy_of))) {
      throw new Error(`The request of invocation ${request.copy_of} is not kept`);
    }
    await work.insert(statements, newWork(submission));
    return invocation;
  }

  /**
   * Throws if the queue is full. Counting takes long, so it is done once a second, or less often. Within a transaction it takes no
   * other connection: all may be taken by transactions that wait for this one.
   */
  async #requirePlace(statements: Statements): Promise<void> {
    const now = this.#clock.monotonic();
    if (now - this.#counted.at >= Math.max(1_000, this.#counted.queued / 100)) {
      this.#counted = { at: now, queued: this.#counted.queued };
      this.#counted = { at: now, queued: await this.#tables.work.count(statements) };
    }
    if (this.#counted.queued++ >= QUEUED) throw queueFull();
  }
}
