import type { Clock } from "../../clock.ts";
import type { Function } from "../../domain/functions/functions.ts";
import type { Route } from "../../domain/routes/routes.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { Basis, ManifestWrites } from "../configuration.ts";
import { SqliteStore } from "../sqlite/store.ts";
import type { Store } from "../store.ts";
import { PostgresAudit } from "./audit.ts";
import type { Client } from "./client/client.ts";
import { withRemedy } from "./errors.ts";
import type { Primary } from "./client/primary.ts";
import { VersionCatchUp } from "./configuration/catch-up.ts";
import { Contact } from "./contact.ts";
import { MirrorDatabase } from "./configuration/mirror-database.ts";
import { Mirror } from "./configuration/mirror.ts";
import { CHANNEL, SharedConfiguration } from "./configuration/shared-configuration.ts";
import { PostgresHistory } from "./history.ts";
import { PostgresLedger } from "./ledger.ts";
import { schemaProblem } from "./migrations/migrations.ts";
import { PostgresNotices } from "./notices.ts";
import { openClient } from "./open.ts";
import { durabilityProblem } from "./durability.ts";
import { PostgresStats } from "./stats.ts";
import { DeliveryTable } from "./tables/deliveries.ts";
import { InvocationTable } from "./tables/invocations.ts";
import { PayloadTable } from "./tables/payloads.ts";
import { LeftRecords } from "./tables/left-records.ts";
import { SharedPlaceTable } from "./tables/shared-places.ts";
import { WorkTable } from "./tables/work.ts";

/** The parts that a store in PostgreSQL needs. */
export interface PostgresOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** Distinguishes the servers that share the database, and stays the same when one starts again. */
  readonly server_id: string;
  /** The most bytes of queued requests, and of requests and results that are kept; no limit by default. */
  readonly queue_bytes?: number;
  /**
   * The time in which nobody takes over work of others whose leases ended while PostgreSQL was away, in milliseconds: from its start, and
   * from when this server reaches it (again). They have results in memory that they write first. 15 s by default.
   */
  readonly reclaim_pause_ms?: number;
  /** Returns false if another server with this id has taken its place; true by default. */
  readonly isPresent?: () => boolean;
  /** Takes what the database's clock has just shown, in milliseconds. Returns false if `clock` was behind it; true by default. */
  readonly isTime?: (now: number) => boolean;
  /** The primary that other connections of this server share; its own by default. */
  readonly primary?: Primary;
}

/** Longer than a server takes to find out that the database is back, and to write what it has. */
const RECLAIM_PAUSE_MS = 15_000;

/** The time between two looks at whether another server has changed the configuration, if no notification has come. */
const POLL_MS = 1_000;

/** Connects to the database at a URL, which other servers may use at the same time. Throws a `StoreError`. */
export async function openPostgresStore(url: string, options: PostgresOptions): Promise<PostgresStore> {
  const client = await openClient(url, options.log, options.primary);
  const store = new PostgresStore(client, options);
  try {
    await store.begin();
    return store;
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

/** A store in a PostgreSQL database that several servers share. The configuration is in memory, see `Mirror`. */
export class PostgresStore implements Store {
  readonly functions: Store["functions"];
  readonly versions: Store["versions"];
  readonly routes: Store["routes"];
  readonly keys: Store["keys"];
  readonly secrets: Store["secrets"];
  readonly registries: Store["registries"];
  readonly schedules: Store["schedules"];
  readonly settings: Store["settings"];
  readonly pulledImages: Store["pulledImages"];
  readonly builds: Store["builds"];
  readonly ledger: PostgresLedger;
  readonly history: PostgresHistory;
  readonly audit: PostgresAudit;
  readonly stats: PostgresStats;
  readonly notices: PostgresNotices;
  readonly sharedPlaces: SharedPlaceTable;
  readonly leftRecords: LeftRecords;
  readonly catchUp: VersionCatchUp;
  readonly #client: Client;
  readonly #mirrored: SqliteStore;
  readonly #configuration: SharedConfiguration;
  readonly #log: Logger;
  readonly #clock: Clock;
  #cancelPoll: () => void = () => undefined;
  readonly #contact: Contact;
  readonly #isPresent: () => boolean;
  /** Set once a newer server has made the database one that this one cannot use: it takes no work from then on. */
  #problem: string | undefined;
  #isClosed = false;

  constructor(
    client: Client,
    {
      log,
      clock,
      server_id: holder,
      queue_bytes,
      isPresent = () => true,
      isTime = () => true,
      reclaim_pause_ms = RECLAIM_PAUSE_MS,
    }: PostgresOptions,
  ) {
    this.#client = client;
    this.#log = log;
    this.#clock = clock;
    this.#isPresent = isPresent;
    const mirror = new Mirror();
    const database = new MirrorDatabase(mirror);
    const mirrored = new SqliteStore(database, clock);
    const configuration = new SharedConfiguration(client, mirror, holder, (changes) => {
      database.forget();
      mirrored.changedElsewhere(changes);
    });
    database.shared = configuration;
    this.#mirrored = mirrored;
    this.#configuration = configuration;
    this.functions = mirrored.functions;
    this.versions = mirrored.versions;
    this.routes = mirrored.routes;
    this.keys = mirrored.keys;
    this.secrets = mirrored.secrets;
    this.registries = mirrored.registries;
    this.schedules = mirrored.schedules;
    this.settings = mirrored.settings;
    this.pulledImages = mirrored.pulledImages;
    this.builds = mirrored.builds;
    const stats = new PostgresStats(client);
    const invocations = new InvocationTable(holder);
    const payloads = new PayloadTable(queue_bytes);
    const deliveries = new DeliveryTable(holder);
    const work = new WorkTable(holder, reclaim_pause_ms);
    const contact = new Contact(clock, reclaim_pause_ms);
    this.#contact = contact;
    const replaceSchedule: (typeof mirrored.schedules)["replaceNow"] = (...both) =>
      mirrored.schedules.replaceNow(...both);
    const parts = {
      client,
      clock,
      holder,
      invocations,
      payloads,
      deliveries,
      work,
      stats,
      configuration,
      isPresent: () => isPresent() && this.#problem === undefined,
      isTime,
      mayTakeOver: () => contact.isSettled,
      replaceSchedule,
    };
    this.ledger = new PostgresLedger(parts);
    this.sharedPlaces = new SharedPlaceTable(client, holder);
    this.leftRecords = new LeftRecords(client, invocations, holder);
    this.catchUp = new VersionCatchUp({ client, clock, configuration, refresh: () => this.#readChanges() });
    this.notices = new PostgresNotices({ client, clock, log, server_id: holder });
    this.history = new PostgresHistory(parts);
    this.audit = new PostgresAudit(client);
    this.stats = stats;
  }

  /** Reads the configuration, and follows its changes from then on. */
  async begin(): Promise<void> {
    await this.#configuration.begin();
    this.#contact.heard(true);
    const problem = await durabilityProblem(this.#client);
    if (problem !== undefined) this.#log.warn("acknowledged work may be lost", { problem });
    this.#poll();
    // Behind a pool of connections there are no notifications: the looks are enough.
    await Promise.all([this.#client.listen(CHANNEL, () => void this.#refresh()), this.notices.begin()]).catch(
      (error: unknown) => {
        this.#log.warn("the database gives no notifications: changes of other servers are seen within a second", {
          reason: messageOf(error),
        });
      },
    );
  }

  get revision(): number {
    return this.#mirrored.revision;
  }

  catalogue(): Promise<{ functions: Function[]; routes: Route[] }> {
    return this.#mirrored.catalogue();
  }

  applyManifest(writes: ManifestWrites, options: Basis & { readonly dry_run: boolean }): Promise<void> {
    return this.#mirrored.applyManifest(writes, options);
  }

  async check(): Promise<string | undefined> {
    if (!this.#isPresent()) {
      throw new AppError(
        "conflict",
        "Another server with this SERVER_ID uses the database: give each its own, and start again",
      );
    }
    if (this.#problem !== undefined) throw new AppError("conflict", this.#problem);
    return durabilityProblem(this.#client).catch((error: unknown) => {
      throw withRemedy(error);
    });
  }

  get lostKeyRemedy(): string {
    const statement = "delete from configuration where kind in ('secrets', 'registries') or id = 'callback_secrets'";
    return `stop all servers, run "${statement}" with psql`;
  }

  get isUp(): boolean {
    return this.#contact.isThere;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#cancelPoll();
    this.notices[Symbol.dispose]();
    this.catchUp[Symbol.dispose]();
    await this.#configuration.idle();
    await this.#client[Symbol.asyncDispose]();
    this.#mirrored[Symbol.dispose]();
  }

  #poll(): void {
    this.#cancelPoll = this.#clock.after(POLL_MS, () => {
      void this.#refresh().then(() => {
        if (!this.#isClosed) this.#poll();
      });
    });
  }

  async #refresh(): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.#lookAtSchema();
      await this.#readChanges();
      this.#heard(true);
    } catch (error) {
      this.#heard(false);
      // The next look finds what this one has missed.
      if (!this.#isClosed)
        this.#log.debug("cannot look for changes of the configuration", { reason: messageOf(error) });
    }
  }

  #heard(isThere: boolean): void {
    this.#contact.heard(isThere);
    this.catchUp.heard(isThere);
  }

  async #readChanges(): Promise<void> {
    await this.#mirrored.whenFree();
    await this.#configuration.refresh();
  }

  async #lookAtSchema(): Promise<void> {
    const before = this.#problem;
    this.#problem = await schemaProblem(this.#client);
    if (this.#problem !== undefined && before === undefined)
      this.#log.error("no more work is taken", { problem: this.#problem });
  }
}
