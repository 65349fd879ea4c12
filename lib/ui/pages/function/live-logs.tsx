import { useEffect, useRef, useState } from "preact/hooks";
import type { InvocationPage, LogEntry } from "../../../domain/calls/invocations.ts";
import { withQuery } from "../../data/api.ts";
import { useData } from "../../data/use-data.ts";
import { Logs, type ShownEntry } from "../../parts/logs.tsx";
import { Empty, Problem } from "../../parts/notices.tsx";
import { Section } from "../../parts/page.tsx";

/** New calls are looked for this often, in milliseconds. */
const LOOK_MS = 1_500;
/** Calls that are followed at once, the newest ones: browsers allow some six connections to a server. */
const FOLLOWED = 4;
const SHOWN_ENTRIES = 1_000;

/** The output of a function as it comes, of its newest calls. */
export function LiveLogs({ function_id }: { readonly function_id: string }) {
  const path = withQuery("/v1/invocations", { function_id, limit: FOLLOWED });
  const { data, error } = useData<InvocationPage>(path, LOOK_MS);
  const entries = useOutputs((data?.invocations ?? []).map(({ id }) => id).toReversed());
  return (
    <Section title="Logs of the latest calls, live">
      <Problem error={error} />
      {entries.length === 0 ? (
        <Empty title="Nothing was printed yet">
          Call the function: what it prints is here at once. Calls that print nothing leave no trace here.
        </Empty>
      ) : (
        <Logs label="What the function prints" entries={entries} />
      )}
    </Section>
  );
}

/** Follows the output of several calls; one that was followed is followed to its end. */
function useOutputs(ids: readonly string[]): readonly ShownEntry[] {
  const [entries, setEntries] = useState<readonly ShownEntry[]>([]);
  const sources = useRef(new Map<string, EventSource>());
  const key = ids.join();
  useEffect(() => {
    const open = sources.current;
    for (const id of key.split(",")) {
      if (id === "" || open.has(id)) continue;
      const source = new EventSource(`/v1/invocations/${encodeURIComponent(id)}/events`);
      open.set(id, source);
      source.addEventListener("log", (event: MessageEvent<string>) => {
        const said = JSON.parse(event.data) as { entries: LogEntry[] }; // the server's own record
        const fresh = said.entries.map((entry) => ({ ...entry, from: `…${id.slice(-6)}` }));
        setEntries((before) => [...before, ...fresh].slice(-SHOWN_ENTRIES));
      });
      source.addEventListener("end", () => source.close());
    }
    // Of those that are over only the ids stay, so that they are not followed again.
    const waiting = [...open].filter(([, { readyState }]) => readyState !== EventSource.CLOSED);
    for (const [, source] of waiting.slice(0, Math.max(0, waiting.length - FOLLOWED))) source.close();
  }, [key]);
  useEffect(() => {
    const open = sources.current;
    return () => {
      for (const source of open.values()) source.close();
    };
  }, []);
  return entries;
}
