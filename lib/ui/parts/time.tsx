import { useEffect, useState } from "preact/hooks";
import { absolute, relative } from "../format/times.ts";

/** The interval at which relative times are written anew, in milliseconds. */
const TICK_MS = 5_000;

/** Returns the time now, again every few seconds. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** A time relative to now, with the absolute one as its title; a dash for none. */
export function Time({ at }: { readonly at: string | null | undefined }) {
  const now = useNow();
  if (at === null || at === undefined) return <span class="quiet">–</span>;
  return (
    <time dateTime={at} title={absolute(at)}>
      {relative(at, now)}
    </time>
  );
}
