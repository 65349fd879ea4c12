import type { Function } from "../domain/functions/functions.ts";
import type { Route } from "../domain/routes/routes.ts";
import type { AuditLog } from "./audit.ts";
import type { BuildStore } from "./builds.ts";
import type {
  Basis,
  FunctionStore,
  KeyStore,
  ManifestWrites,
  PulledImageStore,
  RegistryStore,
  RouteStore,
  ScheduleStore,
  SecretStore,
  SettingStore,
  VersionStore,
} from "./configuration.ts";
import type { History } from "./history.ts";
import type { Ledger } from "./ledger.ts";
import type { CatchUp } from "./cluster/catch-up.ts";
import type { LeftRecordStore } from "./cluster/left-records.ts";
import type { Notices } from "./cluster/notices.ts";
import type { SharedPlaceStore } from "./cluster/shared-places.ts";
import type { StatsStore } from "./stats.ts";

/**
 * Keeps everything that a server stores. No database is known here: an implementation (`sqlite/` is one) fulfils this
 * contract, which tests/store/contract checks. Transactions are inside the commands; nobody outside opens one.
 */
export interface Store extends AsyncDisposable {
  readonly functions: FunctionStore;
  readonly versions: VersionStore;
  readonly routes: RouteStore;
  readonly keys: KeyStore;
  readonly secrets: SecretStore;
  readonly registries: RegistryStore;
  readonly schedules: ScheduleStore;
  readonly settings: SettingStore;
  readonly pulledImages: PulledImageStore;
  readonly ledger: Ledger;
  readonly history: History;
  readonly audit: AuditLog;
  readonly builds: BuildStore;
  readonly stats: StatsStore;
  /** News from and to the other servers of this database; null if no other server can have it. */
  readonly notices: Notices | null;
  /** The places of functions that servers share; null if no other server can have this database. */
  readonly sharedPlaces: SharedPlaceStore | null;
  /** The records of servers that are gone; null if no other server can have this database. */
  readonly leftRecords: LeftRecordStore | null;
  /** Makes reads see what other servers have written; null if no other server can have this database. */
  readonly catchUp: CatchUp | null;
  /** A number that differs after each change of the configuration; a `Basis` has it. */
  readonly revision: number;
  /** Lists all functions and all routes, oldest first, in slices and as of one moment. */
  catalogue(): Promise<{ readonly functions: Function[]; readonly routes: Route[] }>;
  /**
   * Writes what a manifest changes, all of it or nothing. A dry run writes nothing, and throws whatever the write would.
   * Throws `conflict` if a name is taken, and a `StaleError` (see `Basis`).
   */
  applyManifest(writes: ManifestWrites, options: Basis & { readonly dry_run: boolean }): Promise<void>;
  /** Rejects with the reason if the database cannot be used. Returns what its owner should know besides, with the remedy; undefined for nothing. */
  check(): Promise<string | undefined>;
  /** The way to remove what was encrypted with a key that is lost, as a part of a sentence to the owner of the database. */
  readonly lostKeyRemedy: string;
  /** True while the database can be used, as far as is known without waiting for it. */
  readonly isUp: boolean;
}
