import type { Clock } from "../../../lib/clock.ts";
import { openSqliteStore } from "../../../lib/store/sqlite/store.ts";
import type { Store } from "../../../lib/store/store.ts";
import { listeningLog } from "../sqlite/support/stores.ts";

/** A kind of database, with a function that opens an empty one. */
export interface Maker {
  readonly name: string;
  readonly open: (clock: Clock) => Promise<Store>;
}

/** All kinds of databases that a server can have: each fulfils the same contract. */
export const MAKERS: readonly Maker[] = [
  { name: "SQLite", open: async (clock) => openSqliteStore(":memory:", { log: listeningLog().log, clock }) },
];
