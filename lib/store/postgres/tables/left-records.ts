import { timestamp } from "../../../domain/types.ts";
import type { LeftRecord, LeftRecordStore } from "../../cluster/left-records.ts";
import type { Client } from "../client/client.ts";
import { INVOCATION, type InvocationRow, invocationOf, type InvocationTable } from "./invocations.ts";

/** Those that are listed at once: each was a call that a server ran when it was lost. */
const BATCH = 1_000;

/** The synchronous invocations of servers that are gone, the only place of the SQL that compares records with servers. */
export class LeftRecords implements LeftRecordStore {
  readonly #client: Client;
  readonly #invocations: InvocationTable;
  readonly #server: string;

  constructor(client: Client, invocations: InvocationTable, server: string) {
    this.#client = client;
    this.#invocations = invocations;
    this.#server = server;
  }

  async list(silentMs: number): Promise<LeftRecord[]> {
    const rows = await this.#client.all<InvocationRow & { readonly holder: string; readonly silent_ms: number }>(
      `with clock as (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now),
         silent as (
           select ${INVOCATION}, created_at, invocations.id, holder, now - greatest(coalesce(heartbeat, 0),
             (extract(epoch from created_at::timestamptz) * 1000)::bigint) as silent_ms
           from clock, invocations left join servers on servers.id = holder
           where status = 'running' and mode = 'sync' and holder <> $server)
       select ${INVOCATION}, holder, silent_ms from silent where silent_ms >= $silent::bigint
       order by created_at, id limit ${BATCH}`,
      { server: this.#server, silent: silentMs },
    );
    return rows.map(({ holder, silent_ms, ...row }) => {
      const { id, function_id, version } = invocationOf(row);
      return { id, function_id, version, holder, silent_ms };
    });
  }

  end(lost: Parameters<LeftRecordStore["end"]>[0], now: number): Promise<string[]> {
    const messages = new Map(lost.map(({ id, message }) => [id, message]));
    return this.#client.transaction(async (transaction) => {
      // What another server is just ending is left to it.
      const rows = await transaction.all<InvocationRow>(
        `select ${INVOCATION} from invocations
         where id in (select json_array_elements_text($ids::text::json)) and status = 'running' and mode = 'sync'
         order by id for update skip locked`,
        { ids: JSON.stringify([...messages.keys()]) },
      );
      const ended = rows.map(invocationOf);
      const end = { status: "failed", reason: "instance_lost", finished_at: timestamp(now) } as const;
      const invocations = ended.map((one) => ({ ...one, ...end, message: messages.get(one.id) ?? null }));
      if (invocations.length > 0)
        await this.#invocations.save(
          transaction,
          invocations.map((invocation) => ({ invocation })),
        );
      return ended.map(({ id }) => id);
    });
  }
}
