import { useEffect, useRef } from "preact/hooks";
import { Link } from "wouter-preact";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import { bytes, duration } from "../format/numbers.ts";
import { clockTime } from "../format/times.ts";
import { Status } from "./status.tsx";

/** Output with the id of its invocation, if several are shown together. */
interface ShownEntry extends LogEntry {
  readonly from?: string;
}

/** The end of one of several invocations. */
interface ShownEnd {
  readonly from: string;
  readonly time?: string;
  readonly end: Pick<Invocation, "status" | "run_ms" | "reason">;
}

export type ShownLine = ShownEntry | ShownEnd;

/** The output of a function. It stays at its end while its reader is there. */
export function Logs({ label, entries }: { readonly label: string; readonly entries: readonly ShownLine[] }) {
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  useEffect(() => {
    const element = box.current;
    if (element !== null && isAtEnd.current) element.scrollTop = element.scrollHeight;
  }, [entries]);
  const onScroll = () => {
    const element = box.current;
    if (element !== null) isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
  };
  return (
    <div class="logs" role="log" aria-label={label} tabIndex={0} ref={box} onScroll={onScroll}>
      {entries.map((entry, index) => (
        // Entries are only added at the end.
        <Line key={index} line={entry} />
      ))}
    </div>
  );
}

function Line({ line }: { readonly line: ShownLine }) {
  const { from, time } = line;
  const beginning = (
    <>
      <span class="at">{time === undefined ? "" : clockTime(time)}</span>
      {from === undefined ? null : (
        <Link class="from" href={`/invocations/${encodeURIComponent(from)}`} title={from}>
          …{from.slice(-6)}
        </Link>
      )}
    </>
  );
  if ("end" in line) {
    const { status, run_ms, reason } = line.end;
    const why = reason === null || reason === status ? "" : `, ${reason.replaceAll("_", " ")}`;
    return (
      <div class="entry end">
        {beginning}
        <span class="stream">end</span>
        <span class="text">
          <Status value={status === "queued" ? "to be tried again" : status} />
          <span class="quiet">{`${why}${run_ms === null ? "" : `, ${duration(run_ms)}`}`}</span>
        </span>
      </div>
    );
  }
  const { stream, text, boot, dropped_before_bytes: dropped } = line;
  return (
    <>
      {dropped === undefined ? null : <div class="dropped">… {bytes(dropped)} were dropped here …</div>}
      <div class={`entry ${stream}`}>
        {beginning}
        <span class="stream">
          {stream === "stderr" ? "err" : "out"}
          {boot === true ? " boot" : ""}
        </span>
        <span class="text">{text.replace(/\n$/, "")}</span>
      </div>
    </>
  );
}
