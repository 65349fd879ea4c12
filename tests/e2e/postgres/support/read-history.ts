import { SQL } from "bun";
import type { Attempt } from "../../../../lib/domain/calls/attempts.ts";
import type { Invocation } from "../../../../lib/domain/calls/invocations.ts";
import type { Kept } from "../../faults/support/history-check.ts";

/** Reads all asynchronous invocations of a database. */
export async function readClusterHistory(url: string): Promise<readonly Kept[]> {
  await using client = new SQL(url, { max: 1 });
  const rows: readonly { record: string; finished_at: string | null; request: Uint8Array; attempts: string | null }[] =
    await client`
      select record, finished_at, request, (
        select json_agg(attempts.record::json order by attempt) from attempts where invocation_id = id)::text as attempts
      from invocations join payloads on payloads.invocation_id = id where mode = 'async'`;
  return rows.map(({ record, finished_at, request, attempts }) => ({
    // As the server wrote them.
    record: { ...(JSON.parse(record) as Invocation), finished_at },
    attempts: JSON.parse(attempts ?? "[]") as Attempt[],
    tag: (JSON.parse(Buffer.from(request).toString()) as { tag: number }).tag, // an order's body
  }));
}

/** Returns how many invocations have not ended. */
export async function workLeft(url: string): Promise<number> {
  await using client = new SQL(url, { max: 1 });
  const [row]: readonly { readonly count: string }[] = await client`select count(*) as count from work`;
  return Number(row?.count);
}
