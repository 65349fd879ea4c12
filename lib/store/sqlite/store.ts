import { join } from "node:path";
import type { Clock } from "../../clock.ts";
import { messageOf } from "../../domain/errors.ts";
import { about } from "../../domain/manifest/about.ts";
import type { Logger } from "../../log.ts";
import type { Basis, ManifestWrites } from "../configuration.ts";
import { StoreError } from "../errors.ts";
import type { Store } from "../store.ts";
import type { Database } from "./database/database.ts";
import { damaged } from "./errors.ts";
import { SqliteHistory } from "./history.ts";
import { SqliteLedger } from "./ledger.ts";
import { openDatabase } from "./open.ts";
import { openTables, type Tables } from "./tables.ts";

/** The path of the database in the server's data directory. */
export function databasePath(dataPath: string): string {
  return join(dataPath, "database.db");
}

interface StoreOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** The most bytes of queued requests, and of requests and results that are kept; no limit by default. */
  readonly queue_bytes?: number;
}

/** Opens the database at `path` (or `:memory:`) with all its tables. Throws a `StoreError`. */
export function openSqliteStore(path: string, options: StoreOptions): SqliteStore {
  const database = openDatabase(path, options);
  try {
    return new SqliteStore(database, options.clock, options.queue_bytes);
  } catch (error) {
    // A damaged one may look whole until a statement names a column that is not there.
    database[Symbol.dispose]();
    throw new StoreError(damaged(path, messageOf(error)), { cause: error });
  }
}

/** Undoes the transaction of a dry run. */
class Rehearsed extends Error {}

/** A store in one SQLite file that this process alone owns. */
export class SqliteStore implements Store, Disposable {
  readonly tables: Tables;
  readonly functions: Tables["functions"];
  readonly versions: Tables["versions"];
  readonly routes: Tables["routes"];
  readonly keys: Tables["keys"];
  readonly secrets: Tables["secrets"];
  readonly registries: Tables["registries"];
  readonly schedules: Tables["schedules"];
  readonly settings: Tables["settings"];
  readonly pulledImages: Tables["pulledImages"];
  readonly ledger: SqliteLedger;
  readonly history: SqliteHistory;
  readonly audit: Tables["audit"];
  readonly #database: Database;

  constructor(database: Database, clock: Clock, queueBytes?: number) {
    this.#database = database;
    this.tables = openTables(database, clock, queueBytes);
    this.functions = this.tables.functions;
    this.versions = this.tables.versions;
    this.routes = this.tables.routes;
    this.keys = this.tables.keys;
    this.secrets = this.tables.secrets;
    this.registries = this.tables.registries;
    this.schedules = this.tables.schedules;
    this.settings = this.tables.settings;
    this.pulledImages = this.tables.pulledImages;
    this.audit = this.tables.audit;
    this.ledger = new SqliteLedger(database, this.tables, clock);
    this.history = new SqliteHistory(this.tables);
  }

  get revision(): number {
    return this.tables.writer.revision;
  }

  async applyManifest(writes: ManifestWrites, { dry_run, ...basis }: Basis & { dry_run: boolean }): Promise<void> {
    const work = () => {
      this.#writeManifest(writes);
      if (dry_run) throw new Rehearsed();
    };
    const committed = () => {
      this.tables.functions.refresh();
      this.tables.routes.refresh();
    };
    await this.tables.writer.write(work, { basis, committed }).catch((error: unknown) => {
      if (!(error instanceof Rehearsed)) throw error;
    });
  }

  async check(): Promise<void> {
    this.#database.check();
  }

  [Symbol.dispose](): void {
    this.#database[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
  }

  /**
   * Part of a transaction. New functions come first, since routes lead to them; changed ones after the routes, which may
   * keep an old version that would be removed otherwise; and deleted ones last, when no route leads to them.
   */
  #writeManifest({ functions, routes }: ManifestWrites): void {
    const { functions: functionTable, routes: routeTable } = this.tables;
    for (const { name, before, after } of functions) {
      if (before === undefined && after !== undefined) about("Function", name, () => functionTable.insertNow(after));
    }
    for (const { name, before, after } of routes) {
      about("Route", name, () => {
        if (before !== undefined && after !== undefined) routeTable.replaceNow(before, after);
        else if (after !== undefined) routeTable.insertNow(after);
        else if (before !== undefined) routeTable.deleteNow(before.id);
      });
    }
    for (const { name, before, after } of functions) {
      if (before !== undefined && after !== undefined) {
        about("Function", name, () => functionTable.replaceNow(before, after));
      }
    }
    for (const { before, after } of functions) {
      if (before !== undefined && after === undefined) functionTable.deleteNow(before.id);
    }
  }
}
