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
import { sizeOf } from "../ledger-rules.ts";
import type { Payload, Pruning, SavedInvocation } from "../records.ts";
import type { Client } from "./client/client.ts";
import type { PostgresStats } from "./stats.ts";
import { attempts } from "./tables/attempts.ts";
import type { DeliveryTable } from "./tables/deliveries.ts";
import type { InvocationTable } from "./tables/invocations.ts";
import type { PayloadTable } from "./tables/payloads.ts";

/** The parts of the database that the history reads and writes. */
interface HistoryParts {
  readonly client: Client;
  readonly invocations: InvocationTable;
  readonly payloads: PayloadTable;
  readonly deliveries: DeliveryTable;
  readonly stats: PostgresStats;
}

/** The history in PostgreSQL. */
export class PostgresHistory implements History {
  readonly #parts: HistoryParts;
  readonly #client: Client;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
    this.#client = parts.client;
  }

  list(query: InvocationQuery): Promise<InvocationPage> {
    return this.#parts.invocations.list(this.#client, query);
  }

  get(id: string): Promise<Invocation | undefined> {
    return this.#parts.invocations.get(this.#client, id);
  }

  writtenElsewhere(ids: readonly string[]): Promise<WrittenElsewhere[]> {
    return this.#parts.invocations.writtenElsewhere(this.#client, ids);
  }

  logs(id: string): Promise<LogEntry[]> {
    return this.#parts.invocations.logs(this.#client, id);
  }

  payload(id: string): Promise<Payload | undefined> {
    return this.#parts.payloads.get(this.#client, id);
  }

  attempts(id: string): Promise<Attempt[]> {
    return attempts.list(this.#client, id);
  }

  attemptLogs(id: string, attempt: number): Promise<LogEntry[] | undefined> {
    return attempts.logs(this.#client, id, attempt);
  }

  delivery(id: string): Promise<Delivery | undefined> {
    return this.#parts.deliveries.get(this.#client, id);
  }

  deadNotReplayed(filter: DeadFilter, limit: number): Promise<Invocation[]> {
    return this.#parts.invocations.deadNotReplayed(this.#client, filter, limit);
  }

  countDeadNotReplayed(filter: DeadFilter): Promise<number> {
    return this.#parts.invocations.countDeadNotReplayed(this.#client, filter);
  }

  async save(records: readonly SavedInvocation[]): Promise<void> {
    if (records.length === 0) return;
    const { invocations, payloads } = this.#parts;
    await this.#client.transaction(async (transaction) => {
      await invocations.save(transaction, records);
      for (const { invocation, payload } of records) {
        // Without room nothing is kept of it besides its record.
        if (payload !== undefined && (await payloads.makeRoom(transaction, sizeOf(payload)))) {
          await payloads.put(transaction, payload, Date.parse(invocation.finished_at ?? invocation.created_at));
        }
      }
      if (records.some(({ payload }) => payload !== undefined)) await payloads.trim(transaction);
    });
  }

  markUndelivered(id: string, why: Undelivered): Promise<void> {
    return this.#parts.invocations.markUndelivered(this.#client, id, why);
  }

  remove(id: string): Promise<void> {
    return this.#parts.invocations.remove(this.#client, [id]);
  }

  async prune(pruning: Pruning): Promise<number> {
    const { invocations, payloads, stats } = this.#parts;
    return this.#client.transaction(async (transaction) => {
      // Of several servers one removes, and the others leave it to that one.
      if (!(await stats.tryLock(transaction))) return 0;
      await payloads.trim(transaction);
      const ids = await invocations.prunable(transaction, pruning);
      await stats.countBeforeRemoval(transaction, ids);
      await invocations.remove(transaction, ids);
      return ids.length;
    });
  }

  markLost(now: number): Promise<number> {
    return this.#client.transaction((transaction) => this.#parts.invocations.markLost(transaction, now));
  }
}
