import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { systemClock } from "../clock.ts";
import { type Config, ConfigError } from "../config/config.ts";
import { DATABASE_URL_FORM, isDatabaseUrl } from "../config/database/readers.ts";
import { removeLeftovers } from "../docker/containers/leftovers.ts";
import { DOCUMENT_PATHS, type DocumentForm } from "../http/openapi/forms.ts";
import type { Logger } from "../log.ts";
import { Metrics } from "../metrics.ts";
import { keyFilePath } from "../services/secrets/key-file.ts";
import { Vault } from "../services/secrets/vault.ts";
import { StoreError } from "../store/errors.ts";
import { backup } from "../store/sqlite/backup.ts";
import { databasePath } from "../store/sqlite/store.ts";
import type { ServerTools } from "./capability.ts";
import { compose } from "./compose.ts";
import { openStore, temporaryData } from "./data.ts";
import { readEngineAddress } from "./engine-certificates.ts";
import { readDatabaseUrl, readSecretKey } from "./keys/key-files.ts";

interface OpenApiOptions {
  readonly log: Logger;
  readonly form: DocumentForm;
}

/** Returns the OpenAPI document of a server with this configuration, which is put together and never started. */
export async function openApi(config: Config, { log, form }: OpenApiOptions): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const open = { ...config, auth: "off", host: "localhost" } as const;
  const shared: ServerTools = { config: open, log, clock: systemClock, stack };
  const { app } = await compose(shared, await temporaryData(shared));
  const reply: Response = await app.app.handle(
    new Request(`http://localhost/swagger${DOCUMENT_PATHS[form]}`, { headers: { host: "localhost" } }),
  );
  return reply.text();
}

/** Copies the database in the data directory to a new file, even while a server uses it. Throws a `StoreError`. */
export function backupDatabase(config: Config, file: string): void {
  if (config.databaseUrl !== null || config.databaseUrlFile !== null) {
    throw new StoreError("The database of DATABASE_URL is PostgreSQL's: copy it with pg_dump");
  }
  backup(databasePath(config.dataPath), file);
}

/**
 * Removes what servers that were killed left on the engine, and returns the number of containers. Throws a `StoreError`
 * while a server uses the database, which does that itself, and `engine_unavailable`.
 */
export async function sweep(config: Config, log: Logger): Promise<number> {
  const path = databasePath(config.dataPath);
  const isShared = config.databaseUrl !== null || config.databaseUrlFile !== null;
  // Without a database no server has ever started.
  if (!isShared && !existsSync(path)) return 0;
  await using stack = new AsyncDisposableStack();
  const { store } = await openStore({ config, log, clock: systemClock, stack });
  return await removeLeftovers({
    owner: await store.settings.ownerId(),
    engine: await readEngineAddress(config, { clock: systemClock, log }),
    engine_timeout_ms: config.engineTimeoutMs,
    clock: systemClock,
    log,
    metrics: new Metrics(),
    pause: Bun.sleep,
  });
}

/** The target of a move and its options; see the task of the command line. */
interface Task {
  readonly to: string | null;
  readonly to_file: string | null;
  readonly dry_run: boolean;
  readonly progress: (progress: { readonly table: string; readonly moved: number; readonly of: number }) => void;
  readonly log: Logger;
}

/**
 * Moves the database in the data directory to PostgreSQL, and returns what has moved and what its server needs from now on. Throws a
 * `StoreError` or a `ConfigError`.
 */
export async function moveToPostgres(config: Config, { to, to_file, ...task }: Task) {
  const { moveInto } = await import("../store/postgres/open-shared.ts");
  const url = await urlOf(config, to, to_file);
  const given = await readSecretKey(config);
  const server_id = config.serverId ?? hostname();
  const checkKey = (fingerprint: string | null) => {
    if (given === null || fingerprint === null || new Vault(given).fingerprint() === fingerprint) return;
    throw new StoreError(
      "The key given as SECRET_KEY is not the one that the secrets in the database are encrypted with: give that one, or leave it out",
    );
  };
  const path = databasePath(config.dataPath);
  const moved = await moveInto(path, url, { ...task, clock: systemClock, server_id, checkKey }).catch(
    (error: unknown) => {
      throw to === null && to_file === null ? error : renamed(error);
    },
  );
  return { ...moved, server_id, key_file: given === null ? keyFilePath(config.dataPath) : null };
}

/** Lets servers start on the database in the data directory again, after it has moved. Returns where to; null if it has not. */
export async function undoMoveToPostgres(config: Config): Promise<string | null> {
  const { undoMoveOf } = await import("../store/postgres/open-shared.ts");
  return undoMoveOf(databasePath(config.dataPath));
}

async function urlOf(config: Config, to: string | null, to_file: string | null): Promise<string> {
  if (to !== null && !isDatabaseUrl(to)) throw new ConfigError(`Invalid --to (not shown): give ${DATABASE_URL_FORM}`);
  if (to !== null) return to;
  const named = to_file === null ? config : { ...config, databaseUrl: null, databaseUrlFile: to_file };
  const url = await readDatabaseUrl(named).catch((error: unknown) => {
    throw to_file === null ? error : renamed(error);
  });
  if (url !== null) return url;
  throw new ConfigError("No database to move to: give its URL with --to, or a file with it with --to-file");
}

/** Returns an error in whose message the options of this command stand for those of the server. */
function renamed(error: unknown): unknown {
  if (!(error instanceof StoreError || error instanceof ConfigError)) return error;
  const message = error.message.replaceAll("DATABASE_URL_FILE", "--to-file").replaceAll("DATABASE_URL", "--to");
  const options = { cause: error };
  return error instanceof StoreError ? new StoreError(message, options) : new ConfigError(message, options);
}
