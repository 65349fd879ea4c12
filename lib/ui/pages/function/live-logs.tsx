import { useState } from "preact/hooks";
import { type FunctionLine, type FunctionLogs, useFunctionLogs } from "../../data/use-function-logs.ts";
import { count } from "../../format/numbers.ts";
import { Logs, type ShownLine } from "../../parts/logs.tsx";
import { Empty } from "../../parts/notices.tsx";
import { Section } from "../../parts/page.tsx";
import { Status } from "../../parts/status.tsx";

/** The output of all calls of a function as they come. Its reader can stop it, and go on with what came meanwhile. */
export function LiveLogs({ function_id }: { readonly function_id: string }) {
  const logs = useFunctionLogs(function_id);
  const [held, setHeld] = useState<FunctionLogs>();
  const { lines, left_out, state } = held ?? logs;
  const waiting = held === undefined ? 0 : logs.lines.length + logs.left_out - held.lines.length - held.left_out;
  return (
    <Section
      title="Logs of all calls, live"
      actions={
        <>
          {held !== undefined && waiting > 0 ? <span class="quiet">{count(waiting)} new lines</span> : null}
          {held === undefined ? <Status {...STATES[state]} /> : <Status value="paused" />}
          <button type="button" onClick={() => setHeld(held === undefined ? logs : undefined)}>
            {held === undefined ? "Pause" : "Go on"}
          </button>
        </>
      }
    >
      {lines.length === 0 ? (
        <Empty title="No calls yet">
          Call the function: what it prints is here as it comes, and how the call ended.
        </Empty>
      ) : (
        <Logs label="What the function prints" entries={lines.map(shown)} />
      )}
      {left_out > 0 ? (
        <p class="quiet">
          {count(left_out)} earlier lines are not shown here. The page of each call has all that was kept of it.
        </p>
      ) : null}
    </Section>
  );
}

const STATES = {
  connecting: { value: "connecting", tone: "warn" },
  open: { value: "live", tone: "busy" },
  ended: { value: "ended: load the page again", tone: "bad" },
} as const;

function shown(line: FunctionLine): ShownLine {
  if (!("end" in line)) return { ...line, from: line.invocation_id };
  const { status, run_ms, reason, finished_at } = line.end;
  const end = { status, run_ms, reason };
  return { from: line.invocation_id, ...(finished_at !== null && { time: finished_at }), end };
}
