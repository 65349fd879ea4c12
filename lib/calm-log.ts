import type { Clock } from "./clock.ts";
import type { LogFields, Logger } from "./log.ts";

/** The time after which a problem that lasts is logged again, in milliseconds. */
const REMIND_MS = 60_000;
/** Problems that are remembered; with more, all are forgotten, and logged again. */
const REMEMBERED = 100;

/**
 * Returns a log for what is tried again and again: a warning or an error that is the same to the word as one of the last minute is left
 * out, so that a full disk or a database that is away is a line a minute, and not one for each try. Fields must be texts and numbers for that.
 */
export function calmLog(log: Logger, clock: Pick<Clock, "monotonic">): Logger {
  const logged = new Map<string, number>();
  const isNew = (event: string, fields: LogFields = {}): boolean => {
    if (Object.values(fields).some((value) => typeof value === "object" && value !== null)) return true;
    const line = JSON.stringify([event, fields]);
    const at = clock.monotonic();
    if (at - (logged.get(line) ?? -Infinity) < REMIND_MS) return false;
    if (logged.size >= REMEMBERED) logged.clear();
    logged.set(line, at);
    return true;
  };
  return {
    debug: (event, fields) => log.debug(event, fields),
    info: (event, fields) => log.info(event, fields),
    warn: (event, fields) => isNew(event, fields) && log.warn(event, fields),
    error: (event, fields) => isNew(event, fields) && log.error(event, fields),
    child: (fields) => calmLog(log.child(fields), clock),
  };
}
