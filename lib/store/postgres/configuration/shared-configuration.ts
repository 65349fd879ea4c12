import { AppError } from "../../../domain/errors.ts";
import type { RowsElsewhere } from "../../configuration.ts";
import { MIGRATIONS } from "../../sqlite/migrations/migrations.ts";
import type { Client, Statements, Transaction } from "../client/client.ts";
import { TIMELINE } from "../client/primary.ts";
import { isOwn } from "./mirrored-tables.ts";
import type { Mirror, Row, RowStates, Trial } from "./mirror.ts";

/** Deleted rows are forgotten when they are so many changes old. */
const TOMBSTONES = 10_000;

/** The channel on which servers say that they have changed something. */
export const CHANNEL = "slipway_configuration";

interface ChangedRow extends Row {
  readonly current: number;
  readonly forgotten: number;
  readonly timeline: string;
}

/** The changes since a version. */
interface Changes extends Pick<ChangedRow, "current" | "forgotten" | "timeline"> {
  readonly changed: readonly Row[];
}

/** A change that waits for its turn. */
interface Waiting extends Trial {
  /** Called when the rows are in the mirror, before any other code can look. */
  readonly committed: () => void;
  readonly resolve: () => void;
}

/** Called before any other code can look; with no rows at the first read. */
type Follower = (changed: RowsElsewhere) => void;

/**
 * Changes the configuration that several servers share, one change at a time: it locks the state, brings the mirror up to
 * date, tries the change there, and writes the rows that it leaves. All that is right by the rules of the mirror is right for
 * everyone, since nobody else can change anything meanwhile.
 */
export class SharedConfiguration {
  readonly #client: Client;
  readonly #mirror: Mirror;
  readonly #owner: string;
  readonly #follower: Follower;
  #version = -1;
  /** The expression of the timeline. */
  #timelineSql = TIMELINE;
  #timeline = "";
  /** The schema of the rows when they were last locked. */
  #schema = 0;
  #waiting: Waiting[] = [];
  /** Settles when the change that is under way has ended; one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: Client, mirror: Mirror, owner: string, follower: Follower) {
    this.#client = client;
    this.#mirror = mirror;
    this.#owner = owner;
    this.#follower = follower;
  }

  /** Makes a change: changes of the same moment share a transaction, and each fails alone. `work` runs on the mirror, and must not await. */
  change<T>(work: () => T, committed?: (result: T) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let result: { readonly value: T } | undefined;
      let failure: { readonly error: unknown } | undefined;
      this.#waiting.push({
        run: () => {
          // The transaction may be run again: what was refused once stays refused.
          if (failure !== undefined) throw failure.error;
          result = { value: work() };
        },
        failed: (error) => {
          failure = { error };
          result = undefined;
          reject(error);
        },
        committed: () => result && committed?.(result.value),
        resolve: () => result && resolve(result.value),
      });
      if (this.#waiting.length === 1) void this.#alone(() => this.#writeWaiting());
    });
  }

  /**
   * Makes a change together with other writes of one transaction. `work` is called with it, and with a function that makes the
   * change; all is undone if it throws.
   */
  async together<T>(
    work: (transaction: Transaction, change: (run: () => void) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    return this.#alone(async () => {
      let written: Row[] = [];
      const result = await this.#locked((transaction) =>
        work(transaction, async (run) => {
          written = this.#tried(run);
          await this.#write(transaction, written);
        }),
      );
      this.#apply(written);
      return result;
    });
  }

  /** Reads everything for the first time. */
  async begin(): Promise<void> {
    const hasTimeline = this.#client.all(`select ${TIMELINE} as timeline`).then(
      () => true,
      () => false,
    );
    if (!(await hasTimeline)) this.#timelineSql = "''";
    await this.refresh();
  }

  /** The version that the mirror has; -1 before the first read. */
  get version(): number {
    return this.#version;
  }

  /** Brings the mirror up to date, if others have changed anything. */
  refresh(): Promise<void> {
    return this.#alone(() => this.#read(this.#client));
  }

  /** Settles when everything that was begun has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const run = async () => {
      await before;
      return work();
    };
    const mine = run();
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  async #writeWaiting(): Promise<void> {
    // After all requests that have arrived by now.
    await new Promise<void>((resolve) => void setImmediate(resolve));
    const group = this.#waiting;
    this.#waiting = [];
    try {
      let written: Row[] = [];
      await this.#locked(async (transaction) => {
        written = this.#mirror.try(group);
        await this.#write(transaction, written);
      });
      this.#apply(written);
    } catch (error) {
      for (const { failed } of group) failed(error);
      return;
    }
    for (const { committed } of group) committed();
    for (const { resolve } of group) resolve();
  }

  #tried(run: () => void): Row[] {
    let failure: { readonly error: unknown } | undefined;
    const rows = this.#mirror.try([{ run, failed: (error) => void (failure = { error }) }]);
    if (failure !== undefined) throw failure.error;
    return rows;
  }

  /** Runs `work` while nobody else can change anything, with the mirror up to date. */
  #locked<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#client.transaction(async (transaction) => {
      const sql = "select schema from configuration_state where id = 1 for update";
      this.#schema = (await transaction.get<{ schema: number }>(sql))?.schema ?? 0;
      await this.#read(transaction);
      return work(transaction);
    });
  }

  /** Part of a transaction that has the lock. */
  async #write(transaction: Transaction, rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    const owned = rows.map((row) => ({ ...row, owner: isOwn(row.kind, row.id) ? this.#owner : "" }));
    // Columns that it does not know would be lost.
    if (this.#schema > MIGRATIONS.length && owned.some(({ owner }) => owner === "")) throw isOlder();
    const version = this.#version + 1;
    await transaction.run(
      `insert into configuration (owner, kind, id, version, record)
       select owner, kind, id, $version::bigint, record
       from json_to_recordset($rows::text::json) as row (owner text, kind text, id text, record text)
       on conflict (owner, kind, id) do update set version = excluded.version, record = excluded.record`,
      { version, rows: JSON.stringify(owned) },
    );
    const forgotten = version - TOMBSTONES;
    if (version % 100 === 0 && forgotten > 0) {
      await transaction.run("delete from configuration where record is null and version <= $forgotten::bigint", {
        forgotten,
      });
      await transaction.run("update configuration_state set forgotten = $forgotten::bigint", { forgotten });
    }
    await transaction.run("update configuration_state set version = $version::bigint", { version });
    await this.#client.notify(CHANNEL, "", transaction);
  }

  /** Makes the mirror what has just been written. */
  #apply(rows: readonly Row[]): void {
    if (rows.length === 0) return;
    this.#mirror.apply(rows);
    this.#version++;
  }

  /** Reads what has changed since the version of the mirror, as of one moment. */
  async #read(statements: Statements): Promise<void> {
    let rows = await this.#changedSince(statements, this.#version);
    const isFirst = this.#version < 0;
    // Another primary, or a backup, may have lacked the last changes, which never happened then; others may have come since.
    const isOther = rows.current < this.#version || rows.timeline !== this.#timeline;
    if (rows.current === this.#version && !isOther) return;
    const isWhole = !isFirst && (this.#version < rows.forgotten || isOther);
    const before = isWhole ? this.#mirror.states() : undefined;
    if (before !== undefined) {
      rows = await this.#changedSince(statements, -1);
      // If that fails halfway, the next look reads everything.
      this.#version = -1;
      this.#mirror.clear();
    }
    this.#mirror.apply(rows.changed);
    this.#version = rows.current;
    this.#timeline = rows.timeline;
    const idsOf = (table: string) => rows.changed.flatMap(({ kind, id }) => (kind === table && !isFirst ? [id] : []));
    // Of those that were read again, most are as they were.
    const after = before && this.#mirror.states();
    const newsOf = (kind: keyof RowStates) => (before && after ? differing(before[kind], after[kind]) : idsOf(kind));
    this.#follower({
      secrets: newsOf("secrets"),
      schedules: newsOf("schedules"),
      functions: newsOf("functions"),
      routes: isWhole || idsOf("routes").length > 0,
    });
  }

  /** Reads the rows that have changed since a version, or all of them (-1). */
  async #changedSince(statements: Statements, version: number): Promise<Changes> {
    const rows = await statements.all<
      ChangedRow | (Omit<ChangedRow, "kind" | "id"> & { readonly kind: null; readonly id: null })
    >(
      `select state.version as current, state.forgotten, ${this.#timelineSql} as timeline, configuration.kind, configuration.id, configuration.record
       from configuration_state as state
       left join configuration on configuration.version > $version::bigint and configuration.owner in ('', $owner)
         and (configuration.record is not null or $version::bigint >= 0)`,
      { version, owner: this.#owner },
    );
    const [first] = rows;
    if (first === undefined) throw new Error("The configuration has no state");
    const { current, forgotten, timeline } = first;
    return { current, forgotten, timeline, changed: rows.filter((row) => row.kind !== null) };
  }
}

/** Returns the keys with another value, or with one in one of the maps only. */
function differing(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): string[] {
  return [...new Set([...one.keys(), ...other.keys()])].filter((key) => one.get(key) !== other.get(key));
}

function isOlder(): AppError {
  return new AppError(
    "conflict",
    "A newer slipway uses the database, so this server changes nothing in it: change it by that one, or upgrade this server",
  );
}
