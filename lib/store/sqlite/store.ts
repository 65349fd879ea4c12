import { join } from "node:path";
import type { Clock } from "../../clock.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Route } from "../../domain/routes/routes.ts";
import type { Logger } from "../../log.ts";
import type { Basis, ManifestWrites, RowsElsewhere } from "../configuration.ts";
import { StoreError } from "../errors.ts";
import type { Store } from "../store.ts";
import type { Database } from "./database/database.ts";
import { damaged } from "./errors.ts";
import { SqliteHistory } from "./history.ts";
import { SqliteLedger } from "./ledger.ts";
import { openDatabase } from "./open.ts";
import { manifestSteps } from "./manifest-steps.ts";
import { openCatalogue, openTables, type Tables } from "./tables.ts";

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

/** Functions and routes that a manifest changes in one go, in some 10 ms; more of them are written in slices. */
const AT_ONCE = 100;

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
  readonly builds: Tables["builds"];
  readonly stats: Tables["stats"];
  /** No other server has this database. */
  readonly notices = null;
  readonly sharedPlaces = null;
  readonly leftRecords = null;
  readonly catchUp = null;
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock, queueBytes?: number) {
    this.#database = database;
    this.#clock = clock;
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
    this.builds = this.tables.builds;
    this.stats = this.tables.stats;
    this.ledger = new SqliteLedger(database, this.tables, clock);
    this.history = new SqliteHistory(this.tables);
  }

  get revision(): number {
    return this.tables.writer.revision;
  }

  catalogue(): Promise<{ functions: Function[]; routes: Route[] }> {
    return this.tables.writer.asOfOneMoment(async () => {
      const functions = await this.functions.readNow();
      return { functions, routes: await this.routes.readNow(functions) };
    });
  }

  async applyManifest(writes: ManifestWrites, { dry_run, ...basis }: Basis & { dry_run: boolean }): Promise<void> {
    const committed = () => {
      this.tables.functions.refresh();
      this.tables.routes.refresh();
    };
    const { writer } = this.tables;
    if (this.#database.canSlice && writes.functions.length + writes.routes.length > AT_ONCE) {
      const stepsOn = (connection: Database) => manifestSteps(openCatalogue(connection, this.#clock), writes);
      return writer.writeInSlices(stepsOn, { basis, committed, rehearsal: dry_run });
    }
    const steps = await manifestSteps(this.tables, writes);
    const work = () => {
      for (const step of steps) step();
      if (dry_run) throw new Rehearsed();
    };
    await writer.write(work, { basis, committed }).catch((error: unknown) => {
      if (!(error instanceof Rehearsed)) throw error;
    });
  }

  /** Forgets what is known of the configuration, as another server has changed it, and passes that on. */
  changedElsewhere({ secrets, schedules, ...changed }: RowsElsewhere): void {
    this.functions.refresh();
    this.routes.refresh();
    this.tables.writer.noteChange();
    this.secrets.changedElsewhere(secrets);
    this.schedules.changedElsewhere(schedules);
    this.functions.changedElsewhere(changed);
  }

  /** Settles when nobody reads the configuration as of one moment. */
  whenFree(): Promise<void> {
    return this.tables.writer.whenFree();
  }

  async check(): Promise<undefined> {
    this.#database.check();
  }

  get lostKeyRemedy(): string {
    return 'delete the rows of the tables "secrets" and "registries", and the row "callback_secrets" of "settings", with the sqlite3 tool';
  }

  get isUp(): boolean {
    try {
      this.#database.check();
      return true;
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    this.#database[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
  }
}
