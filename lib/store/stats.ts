import type { Resolution } from "../domain/stats/query.ts";
import type { Tally } from "../domain/stats/tally.ts";

/** The figures to read: of one function, or null for all calls; times in milliseconds since the epoch, `until` excluded. */
export interface KeptStatsQuery {
  readonly function_id: string | null;
  readonly resolution: Resolution;
  readonly since: number;
  readonly until: number;
}

/** The calls that ended in a minute or an hour, which begins at `at`. */
export interface StatsBucket {
  readonly at: number;
  readonly tally: Tally;
}

/** The result of one step of counting, and the work that is left: calls that have ended, records of an older database, or too many figures. */
export interface Counted {
  readonly counted: number;
  readonly left: "nothing" | "ended" | "backlog" | "too_much";
}

/**
 * The figures of calls by minute and by hour, in all and of each function. A record is counted once, in the minute of its end:
 * the store notes with the write of a record's end that it is to be counted, and forgets that in the transaction that counts it.
 * Records that the retention removes are counted before. When a clock was ahead, `Ledger.takeBack` also takes figures back.
 */
export interface StatsStore {
  /** Counts the next calls that have ended, at most so many, and forgets figures beyond the limits, in one transaction. */
  count(batch: number): Promise<Counted>;
  /** Returns those in which a call has ended, oldest first. */
  read(query: KeptStatsQuery): Promise<StatsBucket[]>;
}
