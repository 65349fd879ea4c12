import { useEffect, useState } from "preact/hooks";
import type { FunctionCallEnd, FunctionLogEntry, FunctionOutput } from "../../domain/calls/views/function-logs.ts";

/** The most lines that a page shows: of more, the last ones. */
const SHOWN_LINES = 1_000;

/** A line of a function's logs: something printed, or the end of a call. */
export type FunctionLine = FunctionLogEntry | { readonly invocation_id: string; readonly end: FunctionCallEnd };

/** The logs of a function as they come. */
export interface FunctionLogs {
  readonly lines: readonly FunctionLine[];
  /** Lines that this page no longer has, or that the server has left out, as there were too many. */
  readonly left_out: number;
  readonly state: "connecting" | "open" | "ended";
}

const NOTHING: FunctionLogs = { lines: [], left_out: 0, state: "connecting" };

/** Follows the calls of a function by one connection. After a broken one it begins again with the latest calls. */
export function useFunctionLogs(function_id: string): FunctionLogs {
  const [logs, setLogs] = useState<FunctionLogs>(NOTHING);
  useEffect(() => {
    setLogs(NOTHING);
    const source = new EventSource(`/v1/functions/${encodeURIComponent(function_id)}/logs`);
    source.addEventListener("begin", () => setLogs({ ...NOTHING, state: "open" }));
    source.addEventListener("output", (event: MessageEvent<string>) => {
      const output = JSON.parse(event.data) as FunctionOutput; // the server's own record
      setLogs((before) => withOutput(before, output));
    });
    source.addEventListener("error", () => {
      const state = source.readyState === EventSource.CLOSED ? "ended" : "connecting";
      setLogs((before) => ({ ...before, state }));
    });
    return () => source.close();
  }, [function_id]);
  return logs;
}

/** A call may be told of as ended twice, first when its answer is out: the later one counts. */
function withOutput(
  { lines, left_out, state }: FunctionLogs,
  { entries, ends, ...output }: FunctionOutput,
): FunctionLogs {
  const ended = new Set(ends.map(({ invocation_id }) => invocation_id));
  const kept = lines.filter(
    (line) => !("end" in line && ended.has(line.invocation_id) && line.end.status !== "queued"),
  );
  const all = [...kept, ...inOrder(entries, ends)];
  const more = Math.max(0, all.length - SHOWN_LINES);
  return { lines: more === 0 ? all : all.slice(more), left_out: left_out + output.left_out + more, state };
}

/** Puts the end of each call after the last of what it printed. */
function inOrder(entries: readonly FunctionLogEntry[], ends: readonly FunctionCallEnd[]): FunctionLine[] {
  const last = new Map(entries.map(({ invocation_id }, index) => [invocation_id, index]));
  const endsAt = Map.groupBy(ends, ({ invocation_id }) => last.get(invocation_id) ?? -1);
  const linesOf = (index: number) =>
    (endsAt.get(index) ?? []).map((end) => ({ invocation_id: end.invocation_id, end }));
  return [...entries.flatMap((entry, index) => [entry, ...linesOf(index)]), ...linesOf(-1)];
}
