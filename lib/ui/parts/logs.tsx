import { useEffect, useRef } from "preact/hooks";
import type { LogEntry } from "../../domain/calls/invocations.ts";
import { bytes } from "../format/numbers.ts";
import { clockTime } from "../format/times.ts";

/** Output with where it comes from, if several invocations are shown together. */
export interface ShownEntry extends LogEntry {
  readonly from?: string;
}

/** The output of a function. It stays at its end while its reader is there. */
export function Logs({ label, entries }: { readonly label: string; readonly entries: readonly ShownEntry[] }) {
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
        <Entry key={index} entry={entry} />
      ))}
    </div>
  );
}

function Entry({ entry }: { readonly entry: ShownEntry }) {
  const { stream, text, time, from, boot, dropped_before_bytes: dropped } = entry;
  return (
    <div class={`entry ${stream}`}>
      {dropped === undefined ? null : <div class="dropped">… {bytes(dropped)} were dropped here …</div>}
      <span class="at">{time === undefined ? "" : clockTime(time)}</span>
      {from === undefined ? null : <span class="from">{from}</span>}
      <span class="stream">
        {stream === "stderr" ? "err" : "out"}
        {boot === true ? " boot" : ""}
      </span>
      <span class="text">{text.replace(/\n$/, "")}</span>
    </div>
  );
}
