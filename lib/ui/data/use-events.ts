import { useEffect, useState } from "preact/hooks";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";

/** The most log entries that a page shows: of more, the last ones. */
const SHOWN_ENTRIES = 2_000;

/** An invocation as it goes on. */
export interface Followed {
  readonly record: Invocation | undefined;
  readonly entries: readonly LogEntry[];
  readonly state: "connecting" | "open" | "ended";
}

const NOTHING: Followed = { record: undefined, entries: [], state: "connecting" };

/** Follows an invocation: its record whenever it changes, and its logs as they come. A broken connection goes on where it was. */
export function useInvocation(id: string | null): Followed {
  const [followed, setFollowed] = useState<Followed>(NOTHING);
  useEffect(() => {
    setFollowed(NOTHING);
    if (id === null) return;
    const source = new EventSource(`/v1/invocations/${encodeURIComponent(id)}/events`);
    const change = (part: (before: Followed) => Partial<Followed>) =>
      setFollowed((before) => ({ ...before, ...part(before) }));
    source.addEventListener("state", (event: MessageEvent<string>) => {
      const record = JSON.parse(event.data) as Invocation; // the server's own record
      change((before) => {
        const isNewAttempt = before.record !== undefined && before.record.attempts !== record.attempts;
        return { record, state: "open", ...(isNewAttempt && { entries: [] }) };
      });
    });
    source.addEventListener("log", (event: MessageEvent<string>) => {
      const { entries } = JSON.parse(event.data) as { entries: LogEntry[] }; // the server's own record
      change((before) => ({ entries: [...before.entries, ...entries].slice(-SHOWN_ENTRIES), state: "open" }));
    });
    source.addEventListener("end", () => {
      source.close();
      change(() => ({ state: "ended" }));
    });
    source.addEventListener("error", () => {
      change(() => ({ state: source.readyState === EventSource.CLOSED ? "ended" : "connecting" }));
    });
    return () => source.close();
  }, [id]);
  return followed;
}
