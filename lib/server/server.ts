import { existsSync } from "node:fs";
import { type Clock, systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { requireGates } from "../docker/containers/gate-binary.ts";
import { removeLeftovers } from "../docker/containers/leftovers.ts";
import { DOCUMENT_PATHS, type DocumentForm } from "../http/openapi/forms.ts";
import type { Logger } from "../log.ts";
import { Metrics } from "../metrics.ts";
import { backup } from "../store/sqlite/backup.ts";
import { databasePath, openSqliteStore } from "../store/sqlite/store.ts";
import type { Tools } from "./capability.ts";
import { compose, type Composition } from "./compose.ts";
import { openData, temporaryData } from "./data.ts";
import { readEngineAddress } from "./engine-certificates.ts";
import { listen, type Listeners } from "./ports/listen.ts";

/**
 * The time from opening the ports to starting the work in the background, in milliseconds. Clients that wait for the
 * port get their answers first: the modules for the engine take 10 ms to load. A call that comes earlier waits until
 * the engine is known.
 */
const FIRST_ANSWERS_MS = 10;
/** The time from the end of the drain until the last answer is on the wire, in milliseconds. */
const FLUSH_MS = 1_000;

/** A running server. */
export interface Server extends AsyncDisposable {
  readonly url: string;
  /** The URL of the public listener; undefined without one. */
  readonly public_url: string | undefined;
  /** The API key if it was made at this start; it is shown once. */
  readonly new_key: string | undefined;
  /** Closes the ports, waits at most so many milliseconds for running calls, then ends them and releases everything. */
  stop(graceMs: number): Promise<void>;
}

/** Puts the server together and starts it. Throws a `ConfigError` or a `StoreError`. */
export async function start(
  config: Config,
  options: { readonly log: Logger; readonly clock?: Clock },
): Promise<Server> {
  const { log, clock = systemClock } = options;
  await requireGates();
  await using stack = new AsyncDisposableStack();
  const tools: Tools = { config, log, clock, metrics: new Metrics(), stack };
  const composition = await compose(tools, await openData(tools));
  const { capabilities, new_key } = composition;
  for (const each of capabilities) await each.prepare?.();
  const { url, public_url, close } = await listen(composition, tools);
  const cancelStart = clock.after(FIRST_ANSWERS_MS, () => {
    for (const each of capabilities) each.start?.();
  });
  stack.defer(cancelStart);
  const owned = stack.move();
  const end = (graceMs: number) => stop(close, composition, owned, clock, graceMs);
  return { url, public_url, new_key, stop: end, [Symbol.asyncDispose]: () => end(0) };
}

async function stop(
  close: Listeners["close"],
  { capabilities, slowReaders }: Composition,
  owned: AsyncDisposable,
  clock: Clock,
  graceMs: number,
): Promise<void> {
  const end = clock.monotonic() + graceMs;
  const answered = close();
  await Promise.all(capabilities.map(async (each) => each.drain?.(graceMs)));
  await Promise.race([answered, Bun.sleep(FLUSH_MS)]);
  await slowReaders.settled(end - clock.monotonic());
  await owned[Symbol.asyncDispose]();
}

interface OpenApiOptions {
  readonly log: Logger;
  readonly form: DocumentForm;
}

/** Returns the OpenAPI document of a server with this configuration, which is put together and never started. */
export async function openApi(config: Config, { log, form }: OpenApiOptions): Promise<string> {
  await using stack = new AsyncDisposableStack();
  const open = { ...config, auth: "off", host: "localhost" } as const;
  const tools: Tools = { config: open, log, clock: systemClock, metrics: new Metrics(), stack };
  const { app } = await compose(tools, temporaryData(tools));
  const reply: Response = await app.handle(
    new Request(`http://localhost/swagger${DOCUMENT_PATHS[form]}`, { headers: { host: "localhost" } }),
  );
  return reply.text();
}

/** Copies the database in the data directory to a new file, even while a server uses it. Throws a `StoreError`. */
export function backupDatabase(config: Config, file: string): void {
  backup(databasePath(config.dataPath), file);
}

/**
 * Removes what servers that were killed left on the engine, and returns the number of containers. Throws a `StoreError`
 * while a server uses the database, which does that itself, and `engine_unavailable`.
 */
export async function sweep(config: Config, log: Logger): Promise<number> {
  const path = databasePath(config.dataPath);
  // Without a database no server has ever started.
  if (!existsSync(path)) return 0;
  using store = openSqliteStore(path, { log, clock: systemClock });
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
