import { statSync } from "node:fs";
import { hostname } from "node:os";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { EngineAddress } from "../domain/engine-address.ts";
import { keyFilePath } from "../services/secrets/key-file.ts";
import { openVault } from "../services/secrets/open-vault.ts";
import { Vault } from "../services/secrets/vault.ts";
import { databasePath, openSqliteStore } from "../store/sqlite/store.ts";
import type { MemberStore } from "../store/members.ts";
import type { Store } from "../store/store.ts";
import { type ApiKey, openApiKey } from "./keys/api-key.ts";
import type { ServerTools } from "./capability.ts";
import { readEngineAddress } from "./engine-certificates.ts";
import { readDatabaseUrl, readSecretKey } from "./keys/key-files.ts";

/** The data, keys and addresses of a server. Whatever may be wrong with its surroundings shows when they are opened. */
export interface Data {
  readonly store: Store;
  /** Holds the secrets in the database. */
  readonly vault: Vault;
  readonly engine: EngineAddress;
  readonly api_key: ApiKey;
  /** The clock of everything that is stored: that of the database, if servers share one. */
  readonly clock: Clock;
  /** The servers that share the database; null if this one has it for itself. */
  readonly members: MemberStore | null;
}

/** A database, with what belongs to it. */
type Opened = Pick<Data, "store" | "clock" | "members">;

/** Opens the database and its vault, and reads keys and certificates. Throws a `StoreError` or a `ConfigError`. */
export async function openData(shared: ServerTools): Promise<Data> {
  const { config, log } = shared;
  const { store, clock, members } = await openStore(shared);
  const given = await readSecretKey(config);
  const opening = openVault(store, { given, key_file: keyFilePath(config.dataPath), log });
  // Both write at the first start, and then share a sync of the disk.
  const [vault] = await Promise.all([opening, store.settings.ownerId()]);
  const engine = await readEngineAddress(config, shared);
  return { store, vault, engine, api_key: await openApiKey(shared, store), clock, members };
}

/** Opens the database that the configuration names. Throws a `StoreError` or a `ConfigError`. */
export async function openStore({ config, log, clock, stack }: ServerTools): Promise<Opened> {
  const { dataPath, queueBytes: queue_bytes, serverId } = config;
  const url = await readDatabaseUrl(config);
  if (url === null) {
    const store = stack.use(openSqliteStore(databasePath(dataPath), { log, clock, queue_bytes }));
    return { store, clock, members: null };
  }
  // Loaded only if it is used: it must not delay the start with SQLite.
  const { openShared } = await import("../store/postgres/open-shared.ts");
  return stack.use(await openShared(url, { log, clock, queue_bytes, server_id: serverId ?? hostname() }));
}

/** Creates an empty database in memory, and a vault whose key is not kept. */
export async function temporaryData(shared: ServerTools): Promise<Data> {
  const { config, log, clock, stack } = shared;
  const store = stack.use(openSqliteStore(":memory:", { log, clock }));
  const engine = await readEngineAddress(config, shared);
  return { store, vault: Vault.forgetful(), engine, api_key: await openApiKey(shared, store), clock, members: null };
}

/** Returns the size of the database on the disk, its write-ahead log included. */
export function databaseBytes(config: Config): number {
  const file = databasePath(config.dataPath);
  return [file, `${file}-wal`].reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
}
