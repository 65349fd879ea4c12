import type { AnyElysia } from "elysia";
import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { type Clock, systemClock } from "../clock.ts";
import { type Config, ConfigError } from "../config/config.ts";
import { requireGates } from "../docker/containers/gate-binary.ts";
import { messageOf } from "../domain/errors.ts";
import type { Function } from "../domain/functions/functions.ts";
import { parseSecretKey, SECRET_KEY_FORM } from "../domain/parse-secret-key.ts";
import { HEADER_BYTES } from "../domain/limits.ts";
import { createAccess, isLoopback } from "../http/access/access.ts";
import { createApp } from "../http/app.ts";
import { KeyGuesses } from "../http/access/key-guesses.ts";
import { defaultGateways } from "../http/access/gateways.ts";
import { IDLE_TIMEOUTS, type IdleTimeouts } from "../http/wire/idle-timeouts.ts";
import { IdleCollector } from "./idle-collector.ts";
import type { Logger } from "../log.ts";
import { Metrics } from "../metrics.ts";
import { watchProcess } from "./process-metrics.ts";
import { Runner, type RunnerOptions } from "../runner/runner.ts";
import { AttemptRunner } from "../services/work/attempt-runner.ts";
import { ResultService } from "../services/calls/results.ts";
import { FollowerCheck } from "../services/functions/follower-check.ts";
import { CallbackSecrets } from "../services/callbacks/signing-secrets.ts";
import { CallbackSender } from "../services/callbacks/sender.ts";
import { CallbackService } from "../services/callbacks/callbacks.ts";
import { ChainService } from "../services/work/chains.ts";
import { FunctionService } from "../services/functions/functions.ts";
import { ImageRetention } from "../services/images/retention.ts";
import { labelOf } from "../services/calls/metrics.ts";
import { InvocationEvents } from "../services/calls/events.ts";
import { InvocationService } from "../services/calls/invocations.ts";
import { KeyService } from "../services/access/keys.ts";
import { ManifestService } from "../services/functions/manifest.ts";
import { Queue } from "../services/work/queue.ts";
import { Recorder } from "../services/calls/recorder.ts";
import { RegistryService } from "../services/images/registries.ts";
import { ReplayService } from "../services/work/replays.ts";
import { RouteService } from "../services/functions/routes.ts";
import { serverKey } from "../services/access/server-key.ts";
import { openVault } from "../services/secrets/open-vault.ts";
import { ScheduleService } from "../services/work/schedules.ts";
import { SecretService } from "../services/secrets/secrets.ts";
import { StatusService } from "../services/status.ts";
import { EndJudge } from "../services/work/ends.ts";
import { Worker } from "../services/work/worker.ts";
import { Vault } from "../services/secrets/vault.ts";
import { VersionService } from "../services/functions/versions.ts";
import { keyFilePath } from "../services/secrets/key-file.ts";
import { databasePath, openSqliteStore } from "../store/sqlite/store.ts";
import type { Store } from "../store/store.ts";
import { VERSION } from "../version.ts";

const DAY_MS = 86_400_000;
/** Our own limits answer, with an envelope; Bun's own would answer 413 with nothing. Bodies are streams, never held whole. */
const BUN_BODY_BYTES = Number.MAX_SAFE_INTEGER;
/**
 * What waits for the port gets its answer before the engine is turned to: the modules for that take 10 ms to load. A
 * call that comes meanwhile waits until the engine is known.
 */
const FIRST_ANSWERS_MS = 10;
/** From the end of the drain to the last answer being on the wire. */
const FLUSH_MS = 1_000;

/** Right keys pass however many wrong ones came before: so one of the user's own choice should be longer than this. */
const GUESSABLE_LENGTH = 20;

/** A running server. */
export interface Server extends AsyncDisposable {
  readonly url: string;
  /** The API key, where it was made at this start; it is shown once. */
  readonly new_key: string | undefined;
  /** Stops accepting, waits for running calls at most so many milliseconds, then ends them; then everything is released. */
  stop(graceMs: number): Promise<void>;
}

interface Tools {
  readonly log: Logger;
  readonly clock: Clock;
  readonly idle_timeouts: IdleTimeouts;
}

/** What belongs to one database. */
interface Data {
  readonly store: Store;
  readonly vault: Vault;
}

/** Puts the server together and starts it. Throws a `ConfigError` or a `StoreError` where it cannot work. */
export async function start(
  config: Config,
  options: { log: Logger; clock?: Clock; idle_timeouts?: IdleTimeouts },
): Promise<Server> {
  const tools: Tools = { clock: systemClock, idle_timeouts: IDLE_TIMEOUTS, ...options };
  await requireGates();
  await using stack = new AsyncDisposableStack();
  const store = stack.use(openSqliteStore(databasePath(config.dataPath), tools));
  const vault = await createVault(config, store, tools.log);
  const services = await compose(config, { store, vault }, tools, stack);
  const { app, runner, retention, functions, recorder, invocations, worker, new_key } = services;
  const url = listen(app, config, tools.idle_timeouts);
  await recorder.start();
  retention.start();
  const cancelStart = tools.clock.after(FIRST_ANSWERS_MS, () => {
    runner.start();
    functions.warm();
    for (const each of [worker, services.queue, services.schedules, services.callbacks]) each.start();
  });
  stack.defer(cancelStart);
  stack.use(new IdleCollector(tools)).start();
  const owned = stack.move();
  const stop = async (graceMs: number) => {
    // Closes the port at once; the promise settles when the answers are out.
    const answered = app.server?.stop(false);
    await Promise.all([invocations.drain(graceMs), worker.drain(graceMs)]);
    await Promise.race([answered, Bun.sleep(FLUSH_MS)]);
    await app.server?.stop(true);
    await owned.disposeAsync();
  };
  return { url, new_key, stop, [Symbol.asyncDispose]: () => stop(0) };
}

/** The OpenAPI document of a server with this configuration, which is put together and never started. */
export async function openApi(config: Config, options: { log: Logger }): Promise<string> {
  const tools: Tools = { log: options.log, clock: systemClock, idle_timeouts: IDLE_TIMEOUTS };
  await using stack = new AsyncDisposableStack();
  const store = stack.use(openSqliteStore(":memory:", tools));
  const data = { store, vault: Vault.forgetful() };
  const { app } = await compose({ ...config, auth: "off", host: "localhost" }, data, tools, stack);
  const reply: Response = await app.handle(
    new Request("http://localhost/swagger/json", { headers: { host: "localhost" } }),
  );
  return reply.text();
}

async function compose(config: Config, { store, vault }: Data, tools: Tools, stack: AsyncDisposableStack) {
  const { log, clock, idle_timeouts } = tools;
  const metrics = new Metrics();
  const runner: Runner = stack.use(
    createRunner(config, await store.settings.ownerId(), {
      ...{ log, clock, metrics },
      credentialsFor: (host) => registries.credentialsFor(host),
      onPulled: (pulled) => retention.pulled(pulled),
      onSwept: () => worker.swept(),
      onRoom: () => worker.wake(),
    }),
  );
  const registries = new RegistryService({ store: store.registries, vault, runner, clock, log });
  const records = { max_age_ms: config.retentionDays * DAY_MS, max_count: config.retentionCount };
  const recorder = stack.use(new Recorder({ history: store.history, clock, log, metrics, retention: records }));
  const retention: ImageRetention = stack.use(
    new ImageRetention({ store: store.pulledImages, images: runner.ownImages, keep: config.keepVersions, clock, log }),
  );
  const secrets = new SecretService({ store, vault, clock, log });
  const followers = new FollowerCheck({ functions: store.functions, allowed: config.callbackAllow });
  const functions = new FunctionService({
    ...{ store, retention, secrets, followers, runner, clock },
    onForget: (fn) => metrics.forget(labelOf(fn)),
  });
  const versions = new VersionService({ store: store.versions, functions, secrets, retention, runner });
  const routes = new RouteService({ store, functions, clock });
  const manifests = new ManifestService({
    ...{ store, functions, routes, secrets, retention },
    followers: followers,
  });
  const events = new InvocationEvents();
  const secretsFor = (fn: Function) => secrets.valuesFor(fn);
  const invocations = stack.use(
    new InvocationService({
      ...{ history: store.history, recorder, functions, runner, secretsFor, clock, log, metrics, events },
    }),
  );
  const attempts = new AttemptRunner({ store, functions, routes, runner, secretsFor, metrics });
  const { callbacks, callbackSecrets } = createCallbacks(config, { store, vault }, tools);
  stack.use(callbacks);
  const chains = new ChainService({ functions: store.functions, clock, log });
  const ends = new EndJudge({ attempts, chains, clock, log });
  const worker = stack.use(new Worker({ ledger: store.ledger, attempts, ends, events, callbacks, clock, log }));
  const queue = stack.use(new Queue({ store, worker, ends, events, callbacks, clock }));
  const schedules = stack.use(new ScheduleService({ store, functions, worker, clock, log }));
  const results = new ResultService({ history: store.history, invocations, events, clock });
  const replays = new ReplayService({ store, invocations, functions, queue, worker, clock });
  const status = new StatusService({ runner, probeDatabase: () => store.check() });
  const { access, keys, made } = await createAccessCheck(config, store, { clock, log, functions });
  stack.use(keys);
  watchProcess(metrics, clock, () => databaseBytes(config.dataPath));
  const request_bytes = config.maxRequestBytes;
  const app = createApp({
    ...{ functions, routes, secrets, invocations, status, metrics, access, clock, log, idle_timeouts, request_bytes },
    ...{ keys, registries, versions, manifests, results, queue, replays, schedules, callbacks, callbackSecrets },
    checkCallbackUrl: (url) => followers.checkCallbackUrl(url),
    version: VERSION,
  });
  return {
    ...{ app, runner, retention, functions, recorder, invocations, worker, queue, schedules, callbacks },
    new_key: made,
  };
}

function databaseBytes(dataPath: string): number {
  const file = databasePath(dataPath);
  return [file, `${file}-wal`].reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
}

function createRunner(
  config: Config,
  owner: string,
  tools: Pick<RunnerOptions, "log" | "clock" | "metrics" | "credentialsFor" | "onPulled" | "onSwept" | "onRoom">,
): Runner {
  return new Runner({
    ...tools,
    owner,
    engine: config.dockerHost,
    engine_timeout_ms: config.engineTimeoutMs,
    pull_timeout_ms: config.pullTimeoutMs,
    context_name: config.contextName,
    context_path: config.contextPath,
    max_instances: config.maxInstances,
    memory_budget: config.memoryBudget,
    starts_at_once: config.startsAtOnce,
    warm_max: config.warmMax,
    queue_limit: config.queueLimit,
    function_queue_limit: config.functionQueueLimit,
    response_bytes: config.maxResponseBytes,
    log_bytes: config.logBytes,
  });
}

function createCallbacks(config: Config, { store, vault }: Data, { clock, log }: Tools) {
  const callbackSecrets = new CallbackSecrets({ settings: store.settings, vault, clock });
  const sender = new CallbackSender({ allowed: config.callbackAllow, clock, user_agent: `slipway/${VERSION}` });
  const callbacks = new CallbackService({ store, secrets: callbackSecrets, sender, clock, log });
  return { callbacks, callbackSecrets };
}

/** On loopback the key is asked for where one was given; elsewhere always, unless AUTH=off says otherwise. */
async function createAccessCheck(
  config: Config,
  store: Store,
  { clock, ...tools }: Pick<Tools, "clock" | "log"> & { functions: FunctionService },
) {
  const loopback = isLoopback(config.host);
  const given = config.apiKeyFile === null ? config.apiKey : await readKey("API_KEY_FILE", config.apiKeyFile);
  if (given !== null && given.length < GUESSABLE_LENGTH) {
    tools.log.warn("the API key is short enough to be guessed: take one such as `openssl rand -base64 32` makes");
  }
  const required = config.auth === "on" || (config.auth === "auto" && (!loopback || given !== null));
  const { hash, made } = await serverKey(store.settings, { given, needed: required });
  const keys = new KeyService({ store: store.keys, clock, ...tools, server_hash: hash });
  const access = createAccess({
    keys,
    guesses: new KeyGuesses(clock),
    key_required: required,
    loopback,
    allowed_hosts: config.allowedHosts,
    gateways: defaultGateways(() => clock.monotonic()),
  });
  return { access, keys, made };
}

/** The vault of this database, with the key that was given or its own. */
async function createVault(config: Config, store: Store, log: Logger): Promise<Vault> {
  const given = config.secretKeyFile === null ? config.secretKey : await readSecretKey(config.secretKeyFile);
  return openVault(store, { given, key_file: keyFilePath(config.dataPath), log });
}

async function readSecretKey(file: string): Promise<Uint8Array> {
  const key = parseSecretKey(await readKey("SECRET_KEY_FILE", file));
  if (key !== undefined) return key;
  throw new ConfigError(`SECRET_KEY_FILE "${file}" holds no key: put ${SECRET_KEY_FORM} into it`);
}

async function readKey(variable: "API_KEY_FILE" | "SECRET_KEY_FILE", file: string): Promise<string> {
  try {
    const key = (await readFile(file, "utf8")).trim();
    if (key !== "") return key;
  } catch (error) {
    throw new ConfigError(`Cannot read ${variable} "${file}": ${messageOf(error)}`, { cause: error });
  }
  throw new ConfigError(`${variable} "${file}" is empty: put the key into it`);
}

function listen(app: AnyElysia, config: Config, { idle_s }: IdleTimeouts): string {
  try {
    allowHeaders(HEADER_BYTES);
    app.listen({
      hostname: config.host,
      port: config.port,
      // Bun's default lets a second server share the port without a word.
      reusePort: false,
      idleTimeout: idle_s,
      maxRequestBodySize: BUN_BODY_BYTES,
      // Without it a bad response header ends in Bun's own HTML page.
      development: false,
    });
  } catch (error) {
    throw new ConfigError(
      `Cannot listen on ${config.host}:${config.port}: ${messageOf(error)}. Stop what uses the port, or choose another with --port or PORT.`,
      { cause: error },
    );
  }
  const host = config.host.includes(":") ? `[${config.host}]` : config.host;
  return `http://${host}:${app.server?.port}`;
}

/** For the whole process. The binary has it among its own flags (.ci/build.ts), which spares it a module of 4 ms. */
function allowHeaders(bytes: number): void {
  if (process.execArgv.includes(`--max-http-header-size=${bytes}`)) return;
  // A setter, which the types do not know.
  Object.assign(process.getBuiltinModule("node:http"), { maxHeaderSize: bytes });
}
