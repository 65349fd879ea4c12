import { existsSync } from "node:fs";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { removeLeftovers } from "../docker/containers/leftovers.ts";
import { DOCUMENT_PATHS, type DocumentForm } from "../http/openapi/forms.ts";
import type { Logger } from "../log.ts";
import { Metrics } from "../metrics.ts";
import { StoreError } from "../store/errors.ts";
import { backup } from "../store/sqlite/backup.ts";
import { databasePath } from "../store/sqlite/store.ts";
import type { ServerTools } from "./capability.ts";
import { compose } from "./compose.ts";
import { openStore, temporaryData } from "./data.ts";
import { readEngineAddress } from "./engine-certificates.ts";

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
