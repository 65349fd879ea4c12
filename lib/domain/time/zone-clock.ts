/** A span of time in which the clocks of a zone keep one distance to UTC. All values are in milliseconds. */
interface Span {
  /** The span begins here, inclusive; -Infinity for the first one of a zone. */
  readonly from: number;
  /** The span ends here, exclusive; Infinity for the last one. */
  readonly until: number;
  /** The time that the clocks show, minus UTC. */
  readonly offset: number;
}

/** No zone's clocks have ever been further from UTC than this (Manila, until 1844: 15:56). */
const FARTHEST_MS = 16 * 3_600_000;

/**
 * The clock on the wall in a time zone. A reading is what it shows, as if that were UTC: in milliseconds since the epoch,
 * so that readings can be compared and handed to code that knows no zones.
 */
export class ZoneClock {
  readonly #zone: string;
  /** The span of the last question: nearly always that of the next one, too. */
  #last: Span | undefined;

  /** Throws a `RangeError` if there is no such zone. */
  constructor(zone: string) {
    this.#zone = zone;
    this.spanAt(0);
  }

  /** Returns the span that a moment is in. */
  spanAt(moment: number): Span {
    if (this.#last !== undefined && moment >= this.#last.from && moment < this.#last.until) return this.#last;
    const here = Temporal.Instant.fromEpochMilliseconds(Math.floor(moment)).toZonedDateTimeISO(this.#zone);
    // A change at the very moment belongs to the span that it begins: "previous" looks before the moment.
    const previous = here.add({ milliseconds: 1 }).getTimeZoneTransition("previous");
    const next = here.getTimeZoneTransition("next");
    this.#last = {
      from: previous?.epochMilliseconds ?? -Infinity,
      until: next?.epochMilliseconds ?? Infinity,
      offset: here.offsetNanoseconds / 1e6,
    };
    return this.#last;
  }

  /** Returns the furthest reading that the clock has shown up to a moment: after it was set back, that is a later one. */
  furthestBy(moment: number): number {
    let { from, offset } = this.spanAt(moment);
    let furthest = moment + offset;
    // Earlier spans count as long as they may have come further than this.
    while (from > moment - 2 * FARTHEST_MS) {
      const end = from;
      ({ from, offset } = this.spanAt(end - 1));
      furthest = Math.max(furthest, end + offset - 1);
    }
    return furthest;
  }

  /** Returns the first moment at which the clock shows this reading or a later one: the change, if it is skipped. */
  reached(reading: number): number {
    for (let moment = reading - FARTHEST_MS; ;) {
      const { until, offset } = this.spanAt(moment);
      const found = Math.max(moment, reading - offset);
      if (found < until) return found;
      moment = until;
    }
  }
}
