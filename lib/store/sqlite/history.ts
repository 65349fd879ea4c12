import type { Attempt } from "../../domain/calls/attempts.ts";
import type { Delivery } from "../../domain/calls/callbacks.ts";
import type {
  Invocation,
  InvocationPage,
  InvocationQuery,
  LogEntry,
  Undelivered,
} from "../../domain/calls/invocations.ts";
import type { DeadFilter, History, WrittenElsewhere } from "../history.ts";
import type { Payload, Pruning, SavedInvocation } from "../records.ts";
import type { Tables } from "./tables.ts";

/** The history in SQLite: each statement takes microseconds, and is done when its method returns. */
export class SqliteHistory implements History {
  readonly #tables: Tables;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async list(query: InvocationQuery): Promise<InvocationPage> {
    return this.#tables.invocations.list(query);
  }

  async get(id: string): Promise<Invocation | undefined> {
    return this.#tables.invocations.get(id);
  }

  /** No other server has this database. */
  async writtenElsewhere(): Promise<WrittenElsewhere[]> {
    return [];
  }

  async logs(id: string): Promise<LogEntry[]> {
    return this.#tables.invocations.logs(id);
  }

  async payload(id: string): Promise<Payload | undefined> {
    return this.#tables.payloads.get(id);
  }

  async attempts(id: string): Promise<Attempt[]> {
    return this.#tables.attempts.list(id);
  }

  async attemptLogs(id: string, attempt: number): Promise<LogEntry[] | undefined> {
    return this.#tables.attempts.logs(id, attempt);
  }

  async delivery(id: string): Promise<Delivery | undefined> {
    return this.#tables.deliveries.get(id);
  }

  async deadNotReplayed(filter: DeadFilter, limit: number): Promise<Invocation[]> {
    return this.#tables.invocations.deadNotReplayed(filter, limit);
  }

  async countDeadNotReplayed(filter: DeadFilter): Promise<number> {
    return this.#tables.invocations.countDeadNotReplayed(filter);
  }

  async save(records: readonly SavedInvocation[]): Promise<void> {
    await this.#tables.invocations.save(records);
  }

  async markUndelivered(id: string, why: Undelivered): Promise<void> {
    await this.#tables.invocations.markUndelivered(id, why);
  }

  async remove(id: string): Promise<void> {
    await this.#tables.invocations.remove(id);
  }

  async prune(pruning: Pruning): Promise<number> {
    this.#tables.payloads.trim();
    return this.#tables.invocations.prune(pruning);
  }

  async markLost(now: number): Promise<number> {
    return this.#tables.invocations.markLost(now);
  }
}
