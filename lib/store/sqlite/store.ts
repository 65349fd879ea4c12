import { join } from "node:path";
import type { Clock } from "../../clock.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { Database } from "./database/database.ts";
import { StoreError } from "../errors.ts";
import { damaged } from "./errors.ts";
import { openDatabase } from "./open.ts";
import { AttemptStore } from "./tables/attempts.ts";
import { DeliveryStore } from "./tables/deliveries.ts";
import { FunctionStore } from "./tables/functions.ts";
import { IdempotencyKeyStore } from "./tables/idempotency-keys.ts";
import { InvocationStore } from "./tables/invocations.ts";
import { PayloadStore } from "./tables/payloads.ts";
import { KeyStore } from "./tables/keys.ts";
import { PulledImageStore } from "./tables/pulled-images.ts";
import { RegistryStore } from "./tables/registries.ts";
import { RouteStore } from "./tables/routes.ts";
import { ScheduleStore } from "./tables/schedules.ts";
import { SecretStore } from "./tables/secrets.ts";
import { SettingStore } from "./tables/settings.ts";
import { VersionStore } from "./tables/versions.ts";
import { WorkStore } from "./tables/work.ts";

/** Where the database is in the server's data directory. */
export function databasePath(dataPath: string): string {
  return join(dataPath, "database.db");
}

/** The tables of one open database. */
export interface Store extends Disposable {
  readonly settings: SettingStore;
  readonly functions: FunctionStore;
  readonly versions: VersionStore;
  readonly pulledImages: PulledImageStore;
  readonly routes: RouteStore;
  readonly invocations: InvocationStore;
  readonly attempts: AttemptStore;
  readonly payloads: PayloadStore;
  readonly work: WorkStore;
  readonly idempotencyKeys: IdempotencyKeyStore;
  readonly deliveries: DeliveryStore;
  readonly schedules: ScheduleStore;
  readonly secrets: SecretStore;
  readonly registries: RegistryStore;
  readonly keys: KeyStore;
  /**
   * Runs `work`, which may change functions and routes by their `…Now` methods, in one transaction: all of it happens, or
   * nothing. Settles when it is on the disk. `work` must not await, and must read in it what it depends on.
   */
  together<T>(work: () => T): Promise<T>;
  /** Throws what keeps the database from being read. */
  check(): void;
}

/** Opens the database at `path` (or `:memory:`) with all its tables. Throws a `StoreError`. */
export function openStore(path: string, options: { readonly log: Logger; readonly clock: Clock }): Store {
  const database = openDatabase(path, options);
  try {
    return tablesOf(database, options.clock);
  } catch (error) {
    // A damaged one may look whole until a statement names a column that is not there.
    database[Symbol.dispose]();
    throw new StoreError(damaged(path, messageOf(error)), { cause: error });
  }
}

function tablesOf(database: Database, clock: Clock): Store {
  const versions = new VersionStore(database);
  const functions = new FunctionStore(database, versions);
  const payloads = new PayloadStore(database);
  const routes = new RouteStore(database, functions, clock);
  const refresh = () => {
    functions.refresh();
    routes.refresh();
  };
  return {
    functions,
    versions,
    pulledImages: new PulledImageStore(database, clock),
    settings: new SettingStore(database, clock),
    routes,
    payloads,
    invocations: new InvocationStore(database, payloads),
    attempts: new AttemptStore(database),
    work: new WorkStore(database),
    idempotencyKeys: new IdempotencyKeyStore(database),
    deliveries: new DeliveryStore(database),
    schedules: new ScheduleStore(database),
    secrets: new SecretStore(database),
    registries: new RegistryStore(database),
    keys: new KeyStore(database, functions),
    together: (work) => database.durably(work, refresh),
    check: () => database.check(),
    [Symbol.dispose]: () => database[Symbol.dispose](),
  };
}
