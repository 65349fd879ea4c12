import { type InvocationQuery, STATUSES } from "../../../../domain/calls/invocations.ts";

/** A query, with the position that its cursor stands for. */
export type ListQuery = Pick<InvocationQuery, "function_id" | "status" | "since" | "until"> & {
  readonly isContinued: boolean;
};

/**
 * Returns the statement of a page, newest first. Each form reads an index in its own order, so that a page takes the same time
 * however many records there are. The index of functions is one by function and status; without a status, the lists of all
 * statuses are merged as they are read: an index by function alone would be one more to write for each call.
 */
export function listSql(columns: string, query: ListQuery): string {
  const { function_id, status, since, until, isContinued } = query;
  // Named, as SQLite otherwise takes the one on the status for a cursor, and searches it for the few records of one function.
  const index = function_id !== undefined ? "by_function_status" : status !== undefined ? "by_status" : "by_time";
  const select = (conditions: readonly (string | false)[]) => {
    const given = conditions.filter((condition) => condition !== false);
    return `select ${columns} from invocations indexed by invocations_${index}${given.length === 0 ? "" : ` where ${given.join(" and ")}`}`;
  };
  const times = [
    since !== undefined && "created_at >= $since",
    until !== undefined && "created_at < $until",
    isContinued && "(created_at, id) < ($created_at, $id)",
  ];
  const isMerged = function_id !== undefined && status === undefined;
  const selected = isMerged
    ? STATUSES.map((each) => select(["function_id = $function_id", `status = '${each}'`, ...times])).join(" union all ")
    : select([
        function_id !== undefined && "function_id = $function_id",
        status !== undefined && "status = $status",
        ...times,
      ]);
  return `${selected} order by created_at desc, id desc limit $count`;
}
