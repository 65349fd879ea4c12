import type { Clock } from "../../../lib/clock.ts";
import { openPostgresStore } from "../../../lib/store/postgres/store.ts";
import { openSqliteStore } from "../../../lib/store/sqlite/store.ts";
import type { Store } from "../../../lib/store/store.ts";
import { type Database, newDatabase } from "../../support/postgres/test-databases.ts";
import { listeningLog } from "../sqlite/support/stores.ts";

/** A kind of database, with a function that opens an empty one. */
export interface Maker {
  readonly name: string;
  readonly open: (clock: Clock) => Promise<Store>;
  /** The number of tries of a property: on PostgreSQL each command is a round trip or several. */
  readonly runs: number;
}

/** Databases of PostgreSQL that no store uses. To empty one takes a tenth of the time of a new one. */
const free: Database[] = [];

const EMPTY = `
  delete from invocations; delete from configuration; delete from idempotency_keys; delete from audit; delete from figures;
  delete from uncounted; update configuration_state set version = 0, forgotten = 0;
  update payload_totals set bytes = 0, settled_bytes = 0; update figures_sizes set rows = 0, bytes = 0`;

/** Opens a store in an empty database of PostgreSQL. */
async function openPostgres(clock: Clock): Promise<Store> {
  const known = free.pop();
  if (known !== undefined) await known.run(EMPTY);
  const database = known ?? (await newDatabase());
  const store = await openPostgresStore(database.url, {
    log: listeningLog().log,
    clock,
    server_id: "s1",
    reclaim_pause_ms: 0,
  });
  const close = store[Symbol.asyncDispose].bind(store);
  store[Symbol.asyncDispose] = async () => {
    await close();
    free.push(database);
  };
  return store;
}

/** All kinds of databases that a server can have: each fulfils the same contract. */
export const MAKERS: readonly Maker[] = [
  { name: "SQLite", open: async (clock) => openSqliteStore(":memory:", { log: listeningLog().log, clock }), runs: 60 },
  { name: "PostgreSQL", open: openPostgres, runs: 6 },
];
