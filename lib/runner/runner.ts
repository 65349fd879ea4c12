import type { Clock } from "../clock.ts";
import { AppError } from "../domain/errors.ts";
import type { Function, VersionPool } from "../domain/functions/functions.ts";
import type { Pulled } from "../domain/images/pulled-images.ts";
import type { RegistryCredentials } from "../domain/images/registries.ts";
import { type EngineAddress, EngineConnection } from "../docker/api/connection.ts";
import { Containers } from "../docker/api/containers.ts";
import { EngineEvents } from "../docker/api/events.ts";
import { Images } from "../docker/api/images.ts";
import { checkCredentials } from "../docker/api/registry-auth.ts";
import { engineArchitecture } from "../docker/api/system.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../domain/limits.ts";
import { Admission, type Coming } from "./admission.ts";
import type { Call, RunnerRun } from "./call.ts";
import { callExtras } from "./contracts/call-extras.ts";
import { Capacity } from "./pool/capacity.ts";
import { OwnContainers } from "../docker/containers/own-containers.ts";
import { GateVolume } from "../docker/containers/gate-volume.ts";
import { gateBinary } from "../docker/containers/gate-binary.ts";
import { type CurrentCredentials, ImageResolver } from "../docker/images/image-resolver.ts";
import type { Instance, Run } from "./instance/instance.ts";
import { ImageGoneError, Launcher } from "../docker/containers/launcher.ts";
import { NetworkHolders } from "../docker/containers/network-holders.ts";
import { OwnImages } from "../docker/images/own-images.ts";
import type { Pool } from "./pool/pool.ts";
import { type Acquired, Pools } from "./pool/pools.ts";
import { SettingsCheck } from "../docker/containers/settings-check.ts";
import { sweep, SWEEP_INTERVAL_MS, SWEEP_RETRY_MS } from "../docker/containers/sweep.ts";

/** How the runner is set up; the values come from the server's options. */
export interface RunnerOptions {
  readonly owner: string;
  readonly engine: EngineAddress;
  readonly engine_timeout_ms: number;
  readonly pull_timeout_ms: number;
  readonly context_name: string;
  readonly context_path: string;
  readonly max_instances: number;
  readonly memory_budget: number;
  readonly starts_at_once: number;
  readonly warm_max: number;
  readonly queue_limit: number;
  readonly function_queue_limit: number;
  readonly response_bytes: number;
  readonly log_bytes: number;
  /** The credentials that are stored for a registry. */
  readonly credentialsFor: (host: string) => CurrentCredentials | undefined;
  /** Told what each pull has done on the engine. */
  readonly onPulled: (pulled: Pulled) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Told that no container of an earlier server is left, and that a call that waited behind others may run. */
  readonly onSwept: () => void;
  readonly onRoom: () => void;
}

/** How long a server that stops waits for starts under way, in milliseconds: what they have created must be known first. */
const LAST_LAUNCHES_MS = 1_000;

/**
 * The heart: takes calls, admits them, gets each an instance and has it served. It also owns what lives as long as
 * the server does: the watch over the engine, the sweep, and the instances.
 */
export class Runner implements AsyncDisposable {
  readonly images: ImageResolver;
  /** Those that the server's own pulls brought. */
  readonly ownImages: OwnImages;
  /** Checks a function's settings with the engine. */
  readonly settings: SettingsCheck;
  /** Throws `registry_denied` or `registry_unavailable` where a registry does not take credentials. */
  readonly checkRegistry: (credentials: RegistryCredentials) => Promise<void>;
  readonly #options: RunnerOptions;
  readonly #connection: EngineConnection;
  readonly #containers: Containers;
  readonly #events: EngineEvents;
  readonly #own: OwnContainers;
  readonly #launcher: Launcher;
  readonly #admission: Admission;
  readonly #pools: Pools<Instance>;
  readonly #holders: NetworkHolders;
  readonly #launches = new Set<Promise<unknown>>();
  readonly #stopping = new AbortController();
  #cancelSweep: () => void = () => undefined;
  #stopped = false;

  constructor(options: RunnerOptions) {
    const { clock, log, metrics, owner } = options;
    this.#options = options;
    this.#connection = new EngineConnection({
      address: options.engine,
      timeout_ms: options.engine_timeout_ms,
      clock,
      metrics,
    });
    this.#containers = new Containers(this.#connection);
    this.#events = new EngineEvents({
      connection: this.#connection,
      owner,
      clock,
      log,
      onConnected: () => {
        this.#pools.resume();
        return this.sweep();
      },
      onCreated: (container) => this.#own.noteCreated(container),
    });
    this.#own = new OwnContainers({ containers: this.#containers, events: this.#events, clock, log });
    this.settings = new SettingsCheck(this.#connection);
    this.checkRegistry = (credentials) => checkCredentials(this.#connection, credentials);
    const images = new Images({ connection: this.#connection, clock, pull_timeout_ms: options.pull_timeout_ms });
    this.ownImages = new OwnImages({ images, onPulled: options.onPulled, log });
    this.images = new ImageResolver({
      images,
      own: this.ownImages,
      ...{ metrics, log, clock },
      credentialsFor: options.credentialsFor,
    });
    this.#admission = new Admission(
      {
        max_running: options.max_instances,
        queue: options.queue_limit,
        function_queue: options.function_queue_limit,
      },
      () => clock.monotonic(),
    );
    const gates = new GateVolume({
      containers: this.#containers,
      own_containers: this.#own,
      owner,
      volume: options.context_name,
      gate: async () => gateBinary(await engineArchitecture(this.#connection)),
    });
    this.#launcher = new Launcher({
      containers: this.#containers,
      own_containers: this.#own,
      events: this.#events,
      images: this.images,
      gates,
      clock,
      log,
      owner,
      context_root: options.context_path,
      timeout_ms: options.engine_timeout_ms,
    });
    this.#pools = this.#createPools();
    this.#holders = new NetworkHolders(this.#launcher, (key) => this.#pools.renew(key));
    this.#watch(metrics);
  }

  /** Begins to watch the engine and to sweep; does not wait for either. */
  start(): void {
    this.#events.start();
    this.#pools.start();
    this.#scheduleSweep(SWEEP_INTERVAL_MS);
  }

  /** Why no function can run now, or nothing. */
  get problem(): AppError | undefined {
    return this.#events.problem;
  }

  /** Asks the engine now, with a short timeout, and tells why it cannot be used, or nothing. */
  probe(): Promise<AppError | undefined> {
    return this.#events.probe();
  }

  /**
   * Runs a call. Throws where no instance could be had (`overloaded`, `engine_unavailable`, `image_unavailable`, ...);
   * what happens once the gate has the request is an outcome.
   */
  async run(call: Call): Promise<RunnerRun> {
    const { clock } = this.#options;
    const asked = clock.monotonic();
    const leave = await this.#admission.enter(call.function, call.signal);
    try {
      const admitted = clock.monotonic();
      call.onTiming({ queue_ms: admitted - asked });
      // Only in the first moments of a server, before its engine was asked whether it is there.
      await this.#events.settled;
      const acquired = await this.#pools.acquire(call.function, call.signal);
      const started = clock.monotonic();
      call.onTiming({ start_ms: started - admitted, start: acquired.start });
      const run = await this.#serve(call, acquired);
      call.onTiming({ run_ms: clock.monotonic() - started });
      const free = () => {
        leave();
        this.#options.onRoom();
      };
      // A function that is still being ended holds its place.
      void run.ended.finally(free);
      return { ...run, gone: () => this.#own.gone(acquired.instance.containerId) };
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Whether a call that nobody waits for could run now, with room left for those that somebody does wait for. */
  hasRoomBehind(fn: Function, coming: Coming): boolean {
    return this.#events.problem === undefined && this.#admission.hasRoomBehind(fn, coming);
  }

  /** A function was registered or changed: the next call of it is to be a warm one. `named`: versions that routes name. */
  update(fn: Function, named: readonly Function[]): void {
    if (fn.image_id !== null) this.#pools.update(fn, named.filter(hasImage));
  }

  /** The routes of a function name other versions than before: the next call of each is to be a warm one. */
  name(fn: Function, named: readonly Function[]): void {
    this.#pools.name(fn, named.filter(hasImage));
  }

  /** Makes a version of a function ready without its being called. */
  warm(fn: Function): void {
    if (hasImage(fn)) this.#pools.warm(fn);
  }

  /** A function was deleted. */
  remove(functionId: string): void {
    this.#pools.remove(functionId);
  }

  /** The instances of a function by version. */
  poolsOf(functionId: string): VersionPool[] {
    return this.#pools.statesOf(functionId);
  }

  /** Removes containers that servers of this database left behind; what cannot be removed now is tried again soon. */
  async sweep(): Promise<void> {
    const { owner, log } = this.#options;
    try {
      const { left } = await sweep({
        containers: this.#containers,
        owner,
        in_use: (name) => this.#own.owns(name),
        log,
      });
      this.#own.seen(new Set(left));
      if (left.length === 0) this.#options.onSwept();
      this.#scheduleSweep(left.length > 0 ? SWEEP_RETRY_MS : SWEEP_INTERVAL_MS);
    } catch (error) {
      log.warn("sweep failed", { error });
      this.#scheduleSweep(SWEEP_RETRY_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#cancelSweep();
    this.#pools[Symbol.dispose]();
    this.#stopping.abort(new AppError("shutting_down", "The server stopped: try again in a moment"));
    await this.#launchesEnded();
    this.#launcher[Symbol.dispose]();
    await this.#own[Symbol.asyncDispose]();
    await this.#events[Symbol.asyncDispose]();
    this.#connection[Symbol.dispose]();
  }

  async #serve(call: Call, { instance, leave }: Acquired<Instance>): Promise<Run> {
    const { max_calls, timeout_ms } = call.function;
    try {
      // Synchronous calls have none, and wait for nothing here.
      if (call.onHandover !== undefined) await call.onHandover(timeout_ms + KILL_GRACE_MS + TIMEOUT_SLACK_MS);
      const run = await instance.serve({
        id: call.id,
        body: call.body,
        body_file: call.body_file,
        ...callExtras(call, this.#options.clock.now()),
        timeout_ms,
        response_limit: this.#options.response_bytes,
        log_limit: call.function.log_bytes ?? this.#options.log_bytes,
        again: max_calls === 0 || instance.calls + 1 < max_calls,
        context_root: this.#options.context_path,
        signal: call.signal,
        ...(call.onLogs && { onLogs: call.onLogs }),
      });
      void run.reusable.then((reusable) => reusable && this.#pools.giveBack(instance));
      return run;
    } catch (error) {
      // Nobody may hand it over, the disk being full; or it could not be put into frames, and the gate may have had a part.
      instance.retire();
      throw error;
    } finally {
      leave();
    }
  }

  #createPools(): Pools<Instance> {
    const { max_instances, memory_budget, clock, log, starts_at_once, warm_max } = this.#options;
    return new Pools({
      launch: (pool) => this.#launch(pool),
      onEmpty: ({ key }) => this.#holders.release(key),
      capacity: new Capacity({ instances: max_instances, memory_bytes: memory_budget }),
      problem: () => this.#events.problem,
      ...{ clock, log, starts_at_once, warm_max },
    });
  }

  #launch(pool: Pool<Instance>): Promise<Instance> {
    const launching = this.#launchOnce(pool).finally(() => this.#launches.delete(launching));
    this.#launches.add(launching);
    return launching;
  }

  /** Starts an instance for a pool; an image that the engine has lost is brought back, once. */
  async #launchOnce(pool: Pool<Instance>): Promise<Instance> {
    const start = () => {
      const fn = pool.function;
      // Not the caller's signal: when it goes away, the instance is for the next one.
      return this.#holders.join(pool.key, fn, (network) => this.#launcher.launch(fn, this.#stopping.signal, network));
    };
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof ImageGoneError)) throw error;
      await this.images.restore(pool.function);
      return start();
    }
  }

  async #launchesEnded(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.clock.after(LAST_LAUNCHES_MS, resolve);
    await Promise.race([Promise.allSettled(this.#launches), late]);
    cancel();
  }

  #scheduleSweep(delayMs: number): void {
    this.#cancelSweep();
    if (this.#stopped) return;
    // An engine that is away is swept when it is back.
    const run = () => (this.#events.problem ? this.#scheduleSweep(SWEEP_INTERVAL_MS) : void this.sweep());
    this.#cancelSweep = this.#options.clock.after(delayMs, run);
  }

  #watch(metrics: Metrics): void {
    metrics.gauge("slipway_instances", "Instances by state", ["state"], () =>
      Object.entries(this.#pools.totals).map(([state, value]) => ({ labels: { state }, value })),
    );
    metrics.gauge("slipway_queued_calls", "Calls that wait for a place among the running instances", [], () => [
      { value: this.#admission.waiting },
    ]);
    metrics.gauge("slipway_engine_up", "1 while the engine answers", [], () => [{ value: this.problem ? 0 : 1 }]);
  }
}

/** One of an older database may have none yet; its first call finds it. */
function hasImage({ image_id }: Function): boolean {
  return image_id !== null;
}
