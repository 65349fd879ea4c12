import { type Resolution, RESOLUTIONS } from "../../../domain/stats/query.ts";
import { Tally } from "../../../domain/stats/tally.ts";
import type { Database, Statement } from "../database/database.ts";
import { ROW_BYTES, type Tallies } from "../../tallies.ts";
import { decodeTally, encodeTally } from "../../tally-encoding.ts";

/** Rows that are removed or moved at once: some 5 ms of the event loop. */
const BATCH = 500;

/** The limits of one kind: how many buckets have any rows, and the rows and bytes of single functions. */
export interface KeptLimits {
  readonly buckets: number;
  readonly rows: number;
  readonly bytes: number;
}

interface RowKey {
  readonly bucket: number;
  readonly function_id: string;
}

interface Sized extends RowKey {
  readonly bytes: number;
}

/**
 * The figures of minutes, or of hours. The buckets are counted and not timed, so that a clock that is ahead for an hour pushes out
 * an hour of figures at most, not all of them.
 */
export class BucketTable {
  readonly #size: number;
  readonly #limits: KeptLimits;
  readonly #get: Statement<{ figures: Uint8Array }>;
  readonly #put: Statement<never>;
  readonly #rows: Statement<{ bucket: number; figures: Uint8Array }>;
  readonly #oldestKept: Statement<{ bucket: number }>;
  readonly #oldestSingle: Statement<{ bucket: number }>;
  readonly #before: Statement<Sized>;
  readonly #singles: Statement<Sized>;
  readonly #ahead: Statement<RowKey & { figures: Uint8Array }>;
  readonly #remove: Statement<never>;
  readonly #sizes: Statement<{ rows: number; bytes: number }>;
  readonly #resize: Statement<never>;

  constructor(database: Database, resolution: Resolution, limits: KeptLimits) {
    const table = `stats_${resolution}s`;
    this.#size = RESOLUTIONS[resolution];
    this.#limits = limits;
    this.#get = database.prepare(`select figures from ${table} where bucket = $bucket and function_id = $function_id`);
    this.#put = database.prepare(
      `insert into ${table} (bucket, function_id, figures) values ($bucket, $function_id, $figures)
       on conflict (bucket, function_id) do update set figures = excluded.figures`,
    );
    // The buckets come from the rows of all functions: to find one function's among 10,000 by itself would read them all.
    this.#rows = database.prepare(
      `select found.bucket, found.figures from ${table} as every
       cross join ${table} as found on found.bucket = every.bucket and found.function_id = $function_id
       where every.function_id = '' and every.bucket >= $since and every.bucket < $until order by every.bucket`,
    );
    this.#oldestKept = database.prepare(
      `select bucket from ${table} where function_id = '' order by bucket desc limit 1 offset ${limits.buckets - 1}`,
    );
    this.#oldestSingle = database.prepare(
      `select bucket from ${table} where function_id <> '' order by bucket, function_id limit 1`,
    );
    const sized = `select bucket, function_id, length(figures) as bytes from ${table}`;
    this.#before = database.prepare(`${sized} where bucket < $bucket order by bucket, function_id limit ${BATCH}`);
    this.#singles = database.prepare(`${sized} where function_id <> '' order by bucket, function_id limit ${BATCH}`);
    this.#ahead = database.prepare(
      `select bucket, function_id, figures from ${table} where bucket > $bucket
       order by bucket, function_id limit ${BATCH}`,
    );
    this.#remove = database.prepare(`delete from ${table} where bucket = $bucket and function_id = $function_id`);
    this.#sizes = database.prepare(`select rows, bytes from stats_sizes where resolution = '${resolution}'`);
    this.#resize = database.prepare(
      `update stats_sizes set rows = rows + $rows, bytes = bytes + $bytes where resolution = '${resolution}'`,
    );
  }

  /** Returns the rows of a function ('' for all) from a bucket to before another, the first ones first. */
  rows(functionId: string, since: number, until: number): { bucket: number; figures: Uint8Array }[] {
    return this.#rows.all({ function_id: functionId, since, until });
  }

  /** Adds tallies, but for those that would be removed at once. */
  add(buckets: Tallies): void {
    const oldest = this.#oldestKept.get()?.bucket ?? -Infinity;
    const oldestSingle = this.isOver ? (this.#oldestSingle.get()?.bucket ?? oldest) : oldest;
    this.#addFrom(buckets, oldest, oldestSingle);
  }

  #addFrom(buckets: Tallies, oldest: number, oldestSingle: number): void {
    const change = { rows: 0, bytes: 0 };
    for (const [bucket, functions] of buckets) {
      if (bucket < oldest) continue;
      for (const [function_id, tally] of functions) {
        if (function_id === "") this.#merge({ bucket, function_id }, tally);
        else if (bucket >= oldestSingle) addSizes(change, this.#merge({ bucket, function_id }, tally));
      }
    }
    this.#resize.run(change);
  }

  /** True if there are more rows of single functions, or more bytes of them, than may be kept. */
  get isOver(): boolean {
    const { rows, bytes } = this.#sizes.get() ?? { rows: 0, bytes: 0 };
    return rows > this.#limits.rows || bytes > this.#limits.bytes;
  }

  /** Removes a batch of the oldest rows beyond the limits. */
  trim(): void {
    const oldest = this.#oldestKept.get();
    const removed = oldest === undefined ? [] : this.#before.all(oldest);
    this.#removeAll(removed);
    if (removed.length === 0 && this.isOver) this.#removeAll(this.#singles.all());
  }

  /** Adds the rows of buckets after `furthest` to that of now. */
  takeBack(now: number, furthest: number): number {
    const ahead = this.#ahead.all({ bucket: Math.floor(furthest / this.#size) });
    const functions = new Map<string, Tally>();
    for (const { function_id, figures } of ahead) {
      const tally = functions.get(function_id) ?? new Tally();
      tally.merge(decodeTally(figures));
      functions.set(function_id, tally);
    }
    this.#removeAll(ahead.map(({ figures, ...key }) => ({ ...key, bytes: figures.length })));
    // The buckets that are still ahead must not push them out.
    this.#addFrom(new Map([[Math.floor(now / this.#size), functions]]), -Infinity, -Infinity);
    return ahead.length;
  }

  /** Returns by how much the rows have grown. */
  #merge(key: RowKey, tally: Tally): { rows: number; bytes: number } {
    const known = this.#get.get({ ...key });
    if (known !== undefined) tally.merge(decodeTally(known.figures));
    const figures = encodeTally(tally);
    this.#put.run({ ...key, figures });
    return known === undefined
      ? { rows: 1, bytes: figures.length + ROW_BYTES }
      : { rows: 0, bytes: figures.length - known.figures.length };
  }

  #removeAll(keys: readonly Sized[]): void {
    const change = { rows: 0, bytes: 0 };
    for (const { bytes, ...key } of keys) {
      this.#remove.run(key);
      if (key.function_id !== "") addSizes(change, { rows: -1, bytes: -bytes - ROW_BYTES });
    }
    if (keys.length > 0) this.#resize.run(change);
  }
}

function addSizes(sum: { rows: number; bytes: number }, more: { readonly rows: number; readonly bytes: number }): void {
  sum.rows += more.rows;
  sum.bytes += more.bytes;
}
