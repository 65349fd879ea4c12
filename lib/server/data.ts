import { statSync } from "node:fs";
import type { Config } from "../config/config.ts";
import type { EngineAddress } from "../domain/engine-address.ts";
import { keyFilePath } from "../services/secrets/key-file.ts";
import { openVault } from "../services/secrets/open-vault.ts";
import { Vault } from "../services/secrets/vault.ts";
import { databasePath, openSqliteStore } from "../store/sqlite/store.ts";
import type { Store } from "../store/store.ts";
import { type ApiKey, openApiKey } from "./keys/api-key.ts";
import type { Ground } from "./capability.ts";
import { readEngineAddress } from "./engine-certificates.ts";
import { readSecretKey } from "./keys/key-files.ts";

/** What a server is put together on: all that may be wrong with its surroundings shows here. */
export interface Data {
  readonly store: Store;
  /** Holds the secrets in the database. */
  readonly vault: Vault;
  readonly engine: EngineAddress;
  readonly api_key: ApiKey;
}

/** Opens the database in the data directory and its vault, and reads keys and certificates. Throws a `StoreError` or a `ConfigError`. */
export async function openData(ground: Ground): Promise<Data> {
  const { config, log, clock, stack } = ground;
  const store = stack.use(
    openSqliteStore(databasePath(config.dataPath), { log, clock, queue_bytes: config.queueBytes }),
  );
  const given = await readSecretKey(config);
  const vault = await openVault(store, { given, key_file: keyFilePath(config.dataPath), log });
  const engine = await readEngineAddress(config, ground);
  return { store, vault, engine, api_key: await openApiKey(ground, store) };
}

/** Creates an empty database in memory, and a vault whose key is not kept. */
export async function temporaryData(ground: Ground): Promise<Data> {
  const { config, log, clock, stack } = ground;
  const store = stack.use(openSqliteStore(":memory:", { log, clock }));
  const engine = await readEngineAddress(config, ground);
  return { store, vault: Vault.forgetful(), engine, api_key: await openApiKey(ground, store) };
}

/** Returns the size of the database on the disk, its write-ahead log included. */
export function databaseBytes(config: Config): number {
  const file = databasePath(config.dataPath);
  return [file, `${file}-wal`].reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
}
