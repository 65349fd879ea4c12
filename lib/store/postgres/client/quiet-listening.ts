// oxlint-disable no-console -- this is about what Bun prints
/** Bun prints this at each try to listen again while the database is away, between the lines of the log (Bun 1.4.5). */
const NOISE = /^bun:sql LISTEN .* failed, retrying: /;

/** The filter of `console.warn` that is in place. */
let filter: typeof console.warn | undefined;

/**
 * Leaves out what Bun itself prints when it cannot listen for notifications. The log of the server has one line that says that the database is
 * away, and why; these would be several a second beside it, in a form of their own.
 */
export function quietListening(): void {
  if (filter !== undefined && console.warn === filter) return;
  const warn = console.warn;
  filter = (...given: Parameters<typeof console.warn>) => {
    if (!(typeof given[0] === "string" && NOISE.test(given[0]))) warn(...given);
  };
  console.warn = filter;
}
