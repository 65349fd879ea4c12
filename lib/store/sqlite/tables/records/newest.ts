import { Slices } from "../../../../domain/concurrency.ts";
import type { Database, Statement } from "../../database/database.ts";

/** The place of a record among those that have ended. */
export interface EndPosition {
  readonly finished_at: string;
  readonly id: string;
}

/** Records that are passed in one step: about a millisecond. */
const STEP = 5_000;
/** After all times. */
const NEWEST: EndPosition = { finished_at: "~", id: "" };

/** Finds the last record that ended which the newest ones leave no place for; the only place of its SQL. */
export class NewestRecords {
  readonly #after: Statement<EndPosition>;
  readonly #rowids: Statement<{ rows: number }>;

  constructor(database: Database) {
    // The index on the end has no unfinished ones; SQLite uses it only if the query says so, too.
    this.#after = database.prepare(
      `select finished_at, id from invocations where finished_at is not null and (finished_at, id) < ($finished_at, $id)
       order by finished_at desc, id desc limit 1 offset $passed`,
    );
    this.#rowids = database.prepare(
      `select (select max(rowid) from invocations) - (select min(rowid) from invocations) + 1 as rows`,
    );
  }

  /**
   * Returns the newest of the records beyond the `keep` that ended last; undefined if there are no more than these. It passes all
   * that are kept, some 100 ns each, so it does that in slices. What ends meanwhile is not counted.
   */
  async firstBeyond(keep: number): Promise<EndPosition | undefined> {
    // There are never more rows than numbers of rows.
    if ((this.#rowids.get()?.rows ?? 0) <= keep) return undefined;
    const slices = new Slices();
    let last: EndPosition | undefined = NEWEST;
    // One more than are kept.
    for (let left = keep + 1; left > 0 && last !== undefined; left -= STEP) {
      if (slices.over) await slices.next();
      last = this.#after.get({ ...last, passed: Math.min(left, STEP) - 1 });
    }
    return last;
  }
}
