import { Cron, CronPattern } from "croner";
import { ZoneClock } from "./zone-clock.ts";

/** Longer than any two readings of a zone's clocks can be apart at one moment, in milliseconds. */
const OVERLAP_MS = 36 * 3_600_000;
/** Timetables that are kept ready; reading an expression takes as long as some ten questions. */
const KEPT = 1_000;
const kept = new Map<string, Timetable>();

/** Returns the timetable of a cron expression in a time zone. Throws if the expression is invalid or the zone unknown. */
export function timetableOf(cron: string, timezone: string): Timetable {
  const name = `${timezone} ${cron}`;
  const known = kept.get(name);
  if (known !== undefined) return known;
  const made = new Timetable(cron, timezone);
  if (kept.size >= KEPT) kept.clear();
  kept.set(name, made);
  return made;
}

/**
 * The times of a cron expression, by the rule of Vixie's cron for days on which clocks change:
 *
 * - An expression that names hours means the clock on the wall. Every time that it names takes place once: at the first
 *   moment at which the clock shows it, or has passed it. So times that are skipped run at the change, all of them as one
 *   run, and times that come twice run the first time.
 * - An expression for every hour means an interval. It follows the real time: what is skipped does not take place, and
 *   what comes twice takes place twice.
 *
 * Expressions are read and matched by a library, which sees readings of the zone's clock and takes them for UTC. Its own
 * rule for such days is another.
 */
export class Timetable {
  readonly #cron: Cron;
  readonly #clock: ZoneClock;
  readonly #isEveryHour: boolean;

  constructor(expression: string, timezone: string) {
    // "No particular value", as in Quartz. The library would put in the date of today.
    const pattern = expression.replaceAll("?", "*");
    this.#isEveryHour = new CronPattern(pattern).hour.every((hour) => hour === 1);
    this.#cron = new Cron(pattern, { utcOffset: 0, paused: true });
    this.#clock = new ZoneClock(timezone);
  }

  /** Returns the first time after a moment, in milliseconds since the epoch; undefined if there is none. */
  after(moment: number): number | undefined {
    return this.#isEveryHour ? this.#nextShown(moment) : this.#nextReached(moment);
  }

  #nextReached(moment: number): number | undefined {
    const next = this.#match(this.#clock.furthestBy(moment));
    return next === undefined ? undefined : this.#clock.reached(next);
  }

  /** Looks for a match in one span after the other: within a span, readings and real time run alike. */
  #nextShown(moment: number): number | undefined {
    for (let from = moment + 1; ;) {
      const { until, offset } = this.#clock.spanAt(from);
      const next = this.#match(from + offset - 1) ?? Infinity;
      if (next - offset < until) return next - offset;
      // The first readings of the next span may be those of the end of this one, once more.
      const mayRepeat = until - from <= OVERLAP_MS;
      if (next === Infinity && !mayRepeat) return undefined;
      from = mayRepeat ? until : Math.max(until, next - OVERLAP_MS);
    }
  }

  /** Returns the first reading after this one that the expression matches. */
  #match(reading: number): number | undefined {
    return this.#cron.nextRun(new Date(reading))?.getTime();
  }
}
