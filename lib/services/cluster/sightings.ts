import type { Clock } from "../../clock.ts";
import type { Logger } from "../../log.ts";

/**
 * The time for which a server must stay silent before it is logged as lost, in milliseconds: when the database comes back, all seem to be until
 * they have reported themselves again.
 */
const CERTAIN_MS = 5_000;

interface SightingsDeps {
  readonly clock: Pick<Clock, "monotonic">;
  readonly log: Logger;
}

/** A server that was seen: since when it has been silent, by the monotonic clock, and whether that was logged. */
interface Seen {
  silent_since: number | undefined;
  is_lost: boolean;
}

/** Logs once each other server that joins, leaves, is lost or comes back. */
export class Sightings {
  readonly #deps: SightingsDeps;
  #seen: Map<string, Seen> | undefined;

  constructor(deps: SightingsDeps) {
    this.#deps = deps;
  }

  /** Takes the other servers that are known now, and whether each lives. Those of the first time are not news. */
  note(servers: readonly { readonly id: string; readonly living: boolean }[]): void {
    const { log } = this.#deps;
    const before = this.#seen;
    const now = new Map<string, Seen>();
    for (const { id, living } of servers) {
      const seen = before?.get(id);
      // One that is dead at first is no news either.
      now.set(id, seen ?? { silent_since: undefined, is_lost: !living });
      if (seen !== undefined) this.#compare(id, seen, living);
      else if (before !== undefined && living) log.info("another server has joined", { server: id });
    }
    for (const [id, { is_lost }] of before ?? []) {
      if (!now.has(id) && !is_lost) log.info("another server has left", { server: id });
    }
    this.#seen = now;
  }

  #compare(id: string, seen: Seen, living: boolean): void {
    const { clock, log } = this.#deps;
    if (living) {
      if (seen.is_lost) log.info("another server is back", { server: id });
      seen.silent_since = undefined;
      seen.is_lost = false;
      return;
    }
    seen.silent_since ??= clock.monotonic();
    if (seen.is_lost || clock.monotonic() - seen.silent_since < CERTAIN_MS) return;
    seen.is_lost = true;
    log.warn("another server is lost: its attempts are made again when their leases have ended", { server: id });
  }
}
