/** Any number of seconds: the caller has a limit. */
const SECONDS = /^\d+$/;
/** A date of HTTP, in the form that all servers send (RFC 9110, 5.6.7). */
const DATE = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

/** Returns the wait in milliseconds that a `Retry-After` asks for; 0 if it names a time that is past or says nothing. */
export function retryAfterMs(header: string | undefined, now: number): number {
  const text = header?.trim() ?? "";
  if (SECONDS.test(text)) return Number(text) * 1_000;
  const time = DATE.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? 0 : Math.max(0, time - now);
}
