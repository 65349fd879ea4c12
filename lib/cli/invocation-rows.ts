import type { Invocation } from "../domain/calls/invocations.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { ApiClient } from "./api/api-client.ts";
import type { Row } from "./output/output.ts";
import { relativeTime, showMs } from "./output/quantities.ts";

/** Returns the names of functions by their ids, for records that have ids only. A key that may not list them gets none. */
export async function namesById(client: ApiClient, records: readonly unknown[]): Promise<ReadonlyMap<string, string>> {
  if (records.length === 0) return new Map();
  const functions = await client.data<Function[]>({ method: "GET", path: "/v1/functions" }).catch(() => []);
  return new Map(functions.map(({ id, name }) => [id, name ?? id]));
}

/** Returns the rows of a table of invocations. */
export function invocationRows(found: readonly Invocation[], names: ReadonlyMap<string, string>): Row[] {
  return found.map(({ id, function_id, status, reason, run_ms, start, attempts, created_at }) => ({
    id,
    function: names.get(function_id) ?? function_id,
    status,
    reason,
    start,
    run: showMs(run_ms),
    attempts,
    created: relativeTime(created_at),
  }));
}
