import { STATS_KEPT } from "../../domain/limits.ts";
import { type Resolution, RESOLUTIONS } from "../../domain/stats/query.ts";
import { Tally } from "../../domain/stats/tally.ts";
import { ROW_BYTES, type Tallies } from "../tallies.ts";
import { decodeTally, encodeTally } from "../tally-encoding.ts";
import type { Statements } from "./client/client.ts";

/** Rows that are removed or moved at once. */
const BATCH = 500;

/** The key of a row: its bucket and its function ('' for all). */
interface RowKey {
  readonly bucket: number;
  readonly function_id: string;
}

interface FiguresRow extends RowKey {
  readonly figures: Uint8Array;
}

type Sized = RowKey & { readonly bytes: number };

/** The change of the rows of single functions: how many, and their bytes. */
interface Sizes {
  rows: number;
  bytes: number;
}

/** The figures of minutes, or of hours. The methods are part of a transaction that has the lock of the figures. */
export class BucketTable {
  readonly #resolution: Resolution;
  readonly #size: number;
  readonly #limits: (typeof STATS_KEPT)[Resolution];

  constructor(resolution: Resolution) {
    this.#resolution = resolution;
    this.#size = RESOLUTIONS[resolution];
    this.#limits = STATS_KEPT[resolution];
  }

  /** Returns the rows of a function ('' for all) from a bucket to before another, the first ones first. */
  rows(statements: Statements, function_id: string, since: number, until: number): Promise<FiguresRow[]> {
    return statements.all<FiguresRow>(
      `select bucket, function_id, figures from figures where resolution = $resolution and function_id = $function_id
         and bucket >= $since::bigint and bucket < $until::bigint order by bucket`,
      { resolution: this.#resolution, function_id, since, until },
    );
  }

  /** Adds tallies, but for those that would be removed at once. */
  async add(statements: Statements, buckets: Tallies): Promise<void> {
    if (buckets.size === 0) return;
    const oldest = (await this.#oldestKept(statements)) ?? -Infinity;
    const isOver = await this.isOver(statements);
    const oldestSingle = isOver ? ((await this.#oldestSingle(statements)) ?? oldest) : oldest;
    await this.#merge(statements, buckets, oldest, oldestSingle);
  }

  /** True if there are more rows of single functions, or more bytes of them, than may be kept. */
  async isOver(statements: Statements): Promise<boolean> {
    const sizes = await statements.get<{ rows: number; bytes: number }>(
      "select rows, bytes from figures_sizes where resolution = $resolution",
      { resolution: this.#resolution },
    );
    return sizes !== undefined && (sizes.rows > this.#limits.rows || sizes.bytes > this.#limits.bytes);
  }

  /** Removes a batch of the oldest rows beyond the limits. */
  async trim(statements: Statements): Promise<void> {
    const sized = "select bucket, function_id, length(figures) as bytes from figures where resolution = $resolution";
    const order = `order by bucket, function_id limit ${BATCH}`;
    const oldest = await this.#oldestKept(statements);
    const bindings = { resolution: this.#resolution, oldest: oldest ?? 0 };
    const old =
      oldest === undefined
        ? []
        : await statements.all<Sized>(`${sized} and bucket < $oldest::bigint ${order}`, bindings);
    if (old.length > 0) return this.#remove(statements, old);
    if (!(await this.isOver(statements))) return;
    await this.#remove(statements, await statements.all<Sized>(`${sized} and function_id <> '' ${order}`, bindings));
  }

  /** Adds the rows of buckets after `furthest` to that of now. */
  async takeBack(statements: Statements, now: number, furthest: number): Promise<number> {
    const ahead = await statements.all<FiguresRow>(
      `select bucket, function_id, figures from figures where resolution = $resolution and bucket > $bucket::bigint
       order by bucket, function_id limit ${BATCH}`,
      { resolution: this.#resolution, bucket: Math.floor(furthest / this.#size) },
    );
    const functions = new Map<string, Tally>();
    for (const { function_id, figures } of ahead) {
      const tally = functions.get(function_id) ?? new Tally();
      tally.merge(decodeTally(figures));
      functions.set(function_id, tally);
    }
    await this.#remove(
      statements,
      ahead.map(({ figures, ...key }) => ({ ...key, bytes: figures.length })),
    );
    // The buckets that are still ahead must not push them out.
    const taken = new Map([[Math.floor(now / this.#size), functions]]);
    if (ahead.length > 0) await this.#merge(statements, taken, -Infinity, -Infinity);
    return ahead.length;
  }

  async #merge(statements: Statements, buckets: Tallies, oldest: number, oldestSingle: number): Promise<void> {
    const added = [...buckets].flatMap(([bucket, functions]) =>
      [...functions]
        .filter(([function_id]) => bucket >= (function_id === "" ? oldest : Math.max(oldest, oldestSingle)))
        .map(([function_id, tally]) => ({ bucket, function_id, tally })),
    );
    if (added.length === 0) return;
    const known = new Map<string, Uint8Array>();
    for (const row of await this.#known(statements, added)) known.set(keyOf(row), row.figures);
    const change: Sizes = { rows: 0, bytes: 0 };
    const rows = added.map(({ tally, ...key }) => {
      const before = known.get(keyOf(key));
      if (before !== undefined) tally.merge(decodeTally(before));
      const figures = encodeTally(tally);
      if (key.function_id !== "") {
        change.rows += before === undefined ? 1 : 0;
        change.bytes += figures.length - (before?.length ?? -ROW_BYTES);
      }
      return { ...key, figures: Buffer.from(figures).toString("hex") };
    });
    await statements.run(
      `insert into figures (resolution, bucket, function_id, figures)
       select $resolution, bucket, function_id, decode(figures, 'hex')
       from json_to_recordset($rows::text::json) as row (bucket bigint, function_id text, figures text)
       on conflict (resolution, function_id, bucket) do update set figures = excluded.figures`,
      { resolution: this.#resolution, rows: JSON.stringify(rows) },
    );
    await this.#resize(statements, change);
  }

  #known(statements: Statements, keys: readonly RowKey[]): Promise<FiguresRow[]> {
    return statements.all<FiguresRow>(
      `select figures.bucket, figures.function_id, figures.figures
       from json_to_recordset($keys::text::json) as key (bucket bigint, function_id text)
       join figures on figures.resolution = $resolution and figures.bucket = key.bucket
         and figures.function_id = key.function_id`,
      {
        resolution: this.#resolution,
        keys: JSON.stringify(keys.map(({ bucket, function_id }) => ({ bucket, function_id }))),
      },
    );
  }

  async #oldestKept(statements: Statements): Promise<number | undefined> {
    const row = await statements.get<{ bucket: number }>(
      `select bucket from figures where resolution = $resolution and function_id = ''
       order by bucket desc limit 1 offset ${this.#limits.buckets - 1}`,
      { resolution: this.#resolution },
    );
    return row?.bucket;
  }

  async #oldestSingle(statements: Statements): Promise<number | undefined> {
    const row = await statements.get<{ bucket: number }>(
      `select bucket from figures where resolution = $resolution and function_id <> ''
       order by bucket, function_id limit 1`,
      { resolution: this.#resolution },
    );
    return row?.bucket;
  }

  async #remove(statements: Statements, keys: readonly Sized[]): Promise<void> {
    if (keys.length === 0) return;
    await statements.run(
      `delete from figures using json_to_recordset($keys::text::json) as key (bucket bigint, function_id text)
       where figures.resolution = $resolution and figures.bucket = key.bucket and figures.function_id = key.function_id`,
      { resolution: this.#resolution, keys: JSON.stringify(keys) },
    );
    const single = keys.filter(({ function_id }) => function_id !== "");
    const bytes = single.reduce((sum, key) => sum + key.bytes + ROW_BYTES, 0);
    await this.#resize(statements, { rows: -single.length, bytes: -bytes });
  }

  async #resize(statements: Statements, { rows, bytes }: Sizes): Promise<void> {
    await statements.run(
      `update figures_sizes set rows = rows + $rows::bigint, bytes = bytes + $bytes::bigint
       where resolution = $resolution`,
      { resolution: this.#resolution, rows, bytes },
    );
  }
}

function keyOf({ bucket, function_id }: RowKey): string {
  return `${bucket} ${function_id}`;
}
