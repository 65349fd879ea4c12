import type { Database as Sqlite } from "bun:sqlite";
import first from "./0001-0010/0001-first.sql" with { type: "text" };
import pools from "./0001-0010/0002-pools.sql" with { type: "text" };
import settings from "./0001-0010/0003-settings.sql" with { type: "text" };
import secrets from "./0001-0010/0004-secrets.sql" with { type: "text" };
import versions from "./0001-0010/0005-versions.sql" with { type: "text" };
import routes from "./0001-0010/0006-routes.sql" with { type: "text" };
import work from "./0001-0010/0008-work.sql" with { type: "text" };
import schedules from "./0001-0010/0009-schedules.sql" with { type: "text" };
import messages from "./0001-0010/0010-messages.sql" with { type: "text" };
import owners from "./0011-0020/0011-owners.sql" with { type: "text" };
import budgets from "./0011-0020/0012-budgets.sql" with { type: "text" };
import undelivered from "./0011-0020/0013-undelivered.sql" with { type: "text" };
import audit from "./0011-0020/0014-audit.sql" with { type: "text" };
import openFiles from "./0011-0020/0015-open-files.sql" with { type: "text" };
import time from "./0011-0020/0016-time.sql" with { type: "text" };
import volumes from "./0011-0020/0017-volumes.sql" with { type: "text" };
import cells from "./0011-0020/0018-cells.sql" with { type: "text" };
import contracts from "./0011-0020/0019-contracts.sql" with { type: "text" };
import builds from "./0011-0020/0020-builds.sql" with { type: "text" };
import http from "./0021-http.sql" with { type: "text" };
import hosts from "./0022-hosts.sql" with { type: "text" };
import streams from "./0023-streams.sql" with { type: "text" };
import stream from "./0024-stream.sql" with { type: "text" };
import stats from "./0025-stats.sql" with { type: "text" };
import traces from "./0026-traces.sql" with { type: "text" };
import lists from "./0027-lists.sql" with { type: "text" };
import followers from "./0028-followers.sql" with { type: "text" };
import events from "./0029-events.sql" with { type: "text" };
import keys from "./0001-0010/0007-keys.sql" with { type: "text" };
import asOf29 from "./as-of-0029.sql" with { type: "text" };
import { inTransaction } from "../database/group-commit.ts";

/** In order; the number of a migration is its place, from 1, and the `user_version` that it leaves behind. */
export const MIGRATIONS: readonly string[] = [
  first,
  pools,
  settings,
  secrets,
  versions,
  routes,
  keys,
  work,
  schedules,
  messages,
  owners,
  budgets,
  undelivered,
  audit,
  openFiles,
  time,
  volumes,
  cells,
  contracts,
  builds,
  http,
  hosts,
  streams,
  stream,
  stats,
  traces,
  lists,
  followers,
  events,
];

/** "SLIP": distinguishes our databases from those of other programs that number their schemas. */
export const APPLICATION_ID = 0x534c4950;

/** The state that all migrations make of an empty database: to make it at once takes a tenth of the time. */
const STATE = { version: 29, sql: asOf29 };

/** Makes an empty database what all migrations would make of it. */
export function create(sqlite: Sqlite): void {
  inTransaction(sqlite, () => {
    sqlite.run(STATE.sql);
    markVersion(sqlite, STATE.version);
  });
  migrate(sqlite, STATE.version);
}

/** Returns whether a schema is to the letter what `create` makes, so that all of our statements can be prepared in it. */
export function isAsCreated(sqlite: Sqlite): boolean {
  if (STATE.version !== MIGRATIONS.length) return false;
  const objects = sqlite
    .query<{ sql: string }, []>("select sql from sqlite_schema where sql is not null and name not like 'sqlite_%'")
    .all();
  const count = STATE.sql.match(/^CREATE /gm)?.length;
  return objects.length === count && objects.every(({ sql }) => STATE.sql.includes(`\n${sql};\n`));
}

/** Applies the migrations after `version`, each in a transaction of its own. */
export function migrate(sqlite: Sqlite, version: number, migrations: readonly string[] = MIGRATIONS): void {
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    inTransaction(sqlite, () => {
      sqlite.run(sql);
      markVersion(sqlite, index + 1);
    });
  }
}

/** Part of the transaction that it is called in. */
export function markVersion(sqlite: Sqlite, version: number): void {
  sqlite.run(`pragma application_id = ${APPLICATION_ID}; pragma user_version = ${version}`);
}
