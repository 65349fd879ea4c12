import type { Clock } from "../../clock.ts";
import { ConfigurationWriter } from "./configuration-writer.ts";
import type { Database } from "./database/database.ts";
import { AuditTable } from "./audit.ts";
import { BuildTable } from "./builds.ts";
import { StatsTable } from "./stats/table.ts";
import { AttemptTable } from "./tables/attempts.ts";
import { DeliveryTable } from "./tables/deliveries.ts";
import { FunctionTable } from "./tables/functions.ts";
import { IdempotencyKeyTable } from "./tables/idempotency-keys.ts";
import { InvocationTable } from "./tables/invocations.ts";
import { KeyTable } from "./tables/keys.ts";
import { PayloadTable } from "./tables/payloads.ts";
import { PulledImageTable } from "./tables/pulled-images.ts";
import { RegistryTable } from "./tables/registries.ts";
import { RouteTable } from "./tables/routes.ts";
import { ScheduleTable } from "./tables/schedules.ts";
import { SecretTable } from "./tables/secrets.ts";
import { SettingTable } from "./tables/settings.ts";
import { VersionTable } from "./tables/versions.ts";
import { WorkTable } from "./tables/work.ts";

/** All tables of an open database. */
export type Tables = ReturnType<typeof openTables>;

/** Prepares the statements of all tables. Throws if a column that they name does not exist. */
export function openTables(database: Database, clock: Clock, queueBytes?: number) {
  const catalogue = openCatalogue(database, clock);
  const { writer, functions } = catalogue;
  const payloads = new PayloadTable(database, queueBytes);
  const stats = new StatsTable(database);
  return {
    ...catalogue,
    keys: new KeyTable(database, writer, functions),
    secrets: new SecretTable(database, writer),
    registries: new RegistryTable(database, writer),
    schedules: new ScheduleTable(database, writer),
    settings: new SettingTable(database, writer, clock),
    pulledImages: new PulledImageTable(database, writer, clock),
    invocations: new InvocationTable(database, payloads, stats),
    payloads,
    stats,
    audit: new AuditTable(database),
    builds: new BuildTable(database),
    attempts: new AttemptTable(database),
    work: new WorkTable(database),
    idempotencyKeys: new IdempotencyKeyTable(database),
    deliveries: new DeliveryTable(database),
  };
}

/** Prepares the statements of the tables for functions, their versions and routes. */
export function openCatalogue(database: Database, clock: Clock) {
  const writer = new ConfigurationWriter(database);
  const versions = new VersionTable(database, writer);
  const functions = new FunctionTable(database, writer, versions);
  return { writer, functions, versions, routes: new RouteTable(database, writer, { functions, versions }, clock) };
}
