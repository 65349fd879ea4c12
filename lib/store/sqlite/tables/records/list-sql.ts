import { type InvocationQuery, STATUSES } from "../../../../domain/calls/invocations.ts";

/** A query, with the position that its cursor stands for. */
export type ListQuery = Pick<InvocationQuery, "function_id" | "status" | "parent_id" | "since" | "until"> & {
  readonly isContinued: boolean;
};

/**
 * Returns the statement of a page, newest first. Each form reads an index in its own order, so that a page takes the same time
 * however many records there are. The index of functions is one by function and status; without a status, the lists of all
 * statuses are merged as they are read: an index by function alone would be one more to write for each call.
 */
export function listSql(columns: string, query: ListQuery): string {
  const { function_id, status, parent_id, since, until, isContinued } = query;
  // Named, as SQLite otherwise takes the one on the status for a cursor, and searches it for the few records of one function.
  const index = indexFor(query);
  const select = (conditions: readonly (string | false)[]) => {
    const given = conditions.filter((condition) => condition !== false);
    return `select ${columns} from invocations indexed by invocations_${index}${given.length === 0 ? "" : ` where ${given.join(" and ")}`}`;
  };
  const times = [
    since !== undefined && "created_at >= $since",
    until !== undefined && "created_at < $until",
    isContinued && "(created_at, id) < ($created_at, $id)",
  ];
  const isMerged = index === "by_function_status" && status === undefined;
  const selected = isMerged
    ? STATUSES.map((each) => select(["function_id = $function_id", `status = '${each}'`, ...times])).join(" union all ")
    : select([
        parent_id !== undefined && "parent_id = $parent_id",
        function_id !== undefined && "function_id = $function_id",
        status !== undefined && "status = $status",
        ...times,
      ]);
  return `${selected} order by created_at desc, id desc limit $count`;
}

/** The followers of an invocation are few, so theirs is the index to read, whatever else is asked for. */
function indexFor({ function_id, status, parent_id }: ListQuery): string {
  if (parent_id !== undefined) return "by_parent";
  if (function_id !== undefined) return "by_function_status";
  return status === undefined ? "by_time" : "by_status";
}
