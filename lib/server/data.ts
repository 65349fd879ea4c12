import { statSync } from "node:fs";
import type { Config } from "../config/config.ts";
import { keyFilePath } from "../services/secrets/key-file.ts";
import { openVault } from "../services/secrets/open-vault.ts";
import { Vault } from "../services/secrets/vault.ts";
import { databasePath, openSqliteStore } from "../store/sqlite/store.ts";
import type { Store } from "../store/store.ts";
import type { Tools } from "./capability.ts";
import { readSecretKey } from "./key-files.ts";

/** A database and the vault for the secrets in it. */
export interface Data {
  readonly store: Store;
  readonly vault: Vault;
}

/** Opens the database in the data directory and its vault. Throws a `StoreError` or a `ConfigError`. */
export async function openData({ config, log, clock, stack }: Tools): Promise<Data> {
  const store = stack.use(
    openSqliteStore(databasePath(config.dataPath), { log, clock, queue_bytes: config.queueBytes }),
  );
  const given = await readSecretKey(config);
  return { store, vault: await openVault(store, { given, key_file: keyFilePath(config.dataPath), log }) };
}

/** Creates an empty database in memory, and a vault whose key is not kept. */
export function temporaryData({ log, clock, stack }: Tools): Data {
  return { store: stack.use(openSqliteStore(":memory:", { log, clock })), vault: Vault.forgetful() };
}

/** Returns the size of the database on the disk, its write-ahead log included. */
export function databaseBytes(config: Config): number {
  const file = databasePath(config.dataPath);
  return [file, `${file}-wal`].reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
}
