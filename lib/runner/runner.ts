import type { Clock } from "../clock.ts";
import { onAbort, TaskGroup } from "../domain/concurrency.ts";
import type { Boot } from "../domain/calls/boots.ts";
import { AppError } from "../domain/errors.ts";
import { isBooted } from "../domain/functions/contract.ts";
import type { TrialEnd } from "../domain/functions/detection.ts";
import type { Function, VersionPool } from "../domain/functions/functions.ts";
import type { Settings } from "../domain/functions/settings.ts";
import type { RegistryCredentials } from "../domain/images/registries.ts";
import type { SecretValues } from "../domain/secrets.ts";
import type { SystemState } from "../domain/system/system.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../domain/limits.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { Admission, type Coming, type Place } from "./admission.ts";
import type { Call, RunnerRun } from "./call.ts";
import { CellCheck } from "./cell-check.ts";
import { handOver } from "./hand-over.ts";
import { BootedInstance } from "./instance/booted-instance.ts";
import type { Run } from "./instance/instance.ts";
import { NotDelivered } from "./instance/boot/not-delivered.ts";
import type { PoolInstance } from "./instance/pool-instance.ts";
import { InstanceStarter } from "./instance-starter.ts";
import type { Platform, PlatformImages } from "./platform.ts";
import { Capacity } from "./pool/capacity.ts";
import { readyCallsOf } from "./pool/figures.ts";
import { poolKey } from "./pool/pool.ts";
import { type Acquired, Pools } from "./pool/pools.ts";
import { notReady } from "./pool/refusals.ts";
import { addRunnerMetrics } from "./runner-metrics.ts";
import { type PlaceKeeper, type SharedPlace, type SharedPlaceNews, SharedPlaces } from "./shared-places.ts";
import { TrialBoot } from "./trial-boot.ts";

/** The runner's dependencies and limits; the limits come from the server's options. */
export interface RunnerOptions {
  readonly platform: Platform;
  /** The time that an instance has until its gate says READY, in milliseconds. */
  readonly ready_timeout_ms: number;
  readonly context_path: string;
  readonly max_instances: number;
  readonly memory_budget: number;
  readonly starts_at_once: number;
  readonly warm_max: number;
  readonly queue_limit: number;
  readonly function_queue_limit: number;
  readonly response_bytes: number;
  readonly log_bytes: number;
  /** Returns the current values of a function's secrets, for instances that boot. Throws if one is missing. */
  readonly secretsFor: (fn: Function) => SecretValues;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Knows the places that servers share; null if there is one server. */
  readonly place_keeper: PlaceKeeper | null;
  /** Called when no container of an earlier server is left. */
  readonly onSwept: () => void;
  /** Called when a call that waited behind others may run. */
  readonly onRoom: () => void;
}

/** The wait for starts under way when the server stops, in milliseconds: their containers must be known to be removed. */
const LAST_LAUNCHES_MS = 1_000;

/** The time that a call of another server waits for a place of those that servers share: that server waits for an answer. */
const PASSED_ON_MS = 500;

/** The instances that a call is tried with, as long as nothing of it has reached one of them. */
const DELIVERY_TRIES = 3;

/** Runs calls: admits each one, gets it an instance from a pool, and has the instance serve it. */
export class Runner implements AsyncDisposable {
  readonly images: PlatformImages;
  /** Returns the name of a function's version, as `readyCalls` has it. */
  readonly versionKey = poolKey;
  readonly #options: RunnerOptions;
  readonly #platform: Platform;
  readonly #admission: Admission;
  readonly #sharedPlaces: SharedPlaces | null;
  readonly #capacity: Capacity;
  readonly #pools: Pools;
  readonly #cells: CellCheck;
  readonly #starter: InstanceStarter;
  readonly #trials: TrialBoot;
  readonly #launches = new TaskGroup();
  readonly #stopping = new AbortController();

  constructor(options: RunnerOptions) {
    const { platform, clock, log, starts_at_once, warm_max } = options;
    this.#options = options;
    this.#platform = platform;
    this.images = platform.images;
    this.#admission = new Admission(
      {
        max_running: options.max_instances,
        queue: options.queue_limit,
        function_queue: options.function_queue_limit,
      },
      clock,
    );
    const { place_keeper: keeper, function_queue_limit: queue } = options;
    this.#sharedPlaces = keeper && new SharedPlaces(keeper, { queue, clock });
    const { signal } = this.#stopping;
    this.#starter = new InstanceStarter({ ...options, signal });
    const capacity = (this.#capacity = new Capacity({
      instances: options.max_instances,
      memory_bytes: options.memory_budget,
    }));
    this.#pools = new Pools({
      launch: (pool, onBoot) => this.#launches.add(this.#starter.start(pool.function, pool.key, onBoot)),
      onEmpty: ({ key }) => platform.release(key),
      capacity,
      problem: () => platform.health.problem,
      clock,
      log,
      starts_at_once,
      warm_max,
    });
    this.#trials = new TrialBoot({
      boot: (fn, group) => this.#launches.add(this.#tryBoot(fn, group)),
      capacity,
    });
    this.#cells = new CellCheck({ platform, clock, signal, ready_timeout_ms: options.ready_timeout_ms });
    addRunnerMetrics(options.metrics, {
      pools: () => this.#pools.all,
      admission: this.#admission,
      sharedPlaces: this.#sharedPlaces,
      isEngineUp: () => this.problem === undefined,
    });
  }

  /** Connects the platform and begins to fill pools; does not wait for either. */
  start(): void {
    this.#platform.start({
      onAvailable: () => {
        this.#cells.forget();
        this.#pools.resume();
      },
      onGroupLost: (group) => this.#pools.renew(({ key }) => key === group),
      onSwept: this.#options.onSwept,
    });
    this.#pools.start();
  }

  /** The reason why no function can run now, or nothing. */
  get problem(): AppError | undefined {
    return this.#platform.health.problem;
  }

  /** The used part of each limit on instances and waiting calls. */
  get budgets(): Pick<SystemState["budgets"], "instances" | "memory_bytes" | "waiting_calls"> {
    const waiting_calls = { used: this.#admission.waiting, limit: this.#options.queue_limit };
    return { ...this.#capacity.budgets, waiting_calls };
  }

  /** Returns whether a call of this function would find an instance at once. */
  isOpenTo(fn: Function): boolean {
    return this.problem === undefined && this.#pools.isOpenTo(fn);
  }

  /** The calls that ready instances could serve at once, by function and version (`ID@VERSION`); none while the platform is away. */
  get readyCalls(): Readonly<Record<string, number>> {
    return this.problem === undefined ? readyCallsOf(this.#pools.all) : {};
  }

  /** Asks the platform now, with a short timeout, and returns why it cannot be used, or nothing. */
  probe(): Promise<AppError | undefined> {
    return this.#platform.health.probe();
  }

  /**
   * Throws `invalid_request` if instances cannot have these settings, naming what they can have. Whether cells can be made is
   * found out with an image that is present.
   */
  async check(settings: Partial<Settings>, imageId?: string | null): Promise<void> {
    await this.#platform.check(settings);
    if (settings.isolation === "cell" && imageId) await this.#cells.check(settings, imageId);
  }

  /** Throws `registry_denied` or `registry_unavailable` if a registry does not accept these credentials. */
  checkCredentials(credentials: RegistryCredentials): Promise<void> {
    return this.#platform.checkCredentials(credentials);
  }

  /**
   * Runs a call. Throws if no instance could be had (`overloaded`, `engine_unavailable`, `image_unavailable`, ...); what
   * happens once the gate has the request is an outcome.
   */
  async run(call: Call): Promise<RunnerRun> {
    const { clock } = this.#options;
    const asked = clock.monotonic();
    if (call.ready_only === true && !this.#admission.isOpenTo(call.function)) throw notReady();
    const isShared =
      this.#sharedPlaces !== null && call.function.max_concurrency > 0 && call.shared_place === undefined;
    const leave = await (isShared ? this.#enterShared(call) : this.#admission.enter(call.function, call.signal));
    try {
      const admitted = clock.monotonic();
      call.onTiming({ queue_ms: admitted - asked });
      if (this.#platform.health.problem !== undefined) await this.#untilKnown(call.signal);
      const { run, gone } = await this.#runOn(call, admitted);
      const free = () => {
        leave();
        this.#options.onRoom();
      };
      // A function that is still being ended keeps its place.
      void run.over.finally(free);
      return { ...run, gone };
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Takes a place of those that servers share, and then one here. */
  async #enterShared({ function: fn, signal, ready_only }: Call): Promise<Place> {
    const late = ready_only === true ? AbortSignal.timeout(PASSED_ON_MS) : undefined;
    const shared = await this.#sharedPlaces
      ?.enter(fn, late === undefined ? signal : AbortSignal.any([signal, late]))
      .catch((error: unknown) => {
        throw late?.aborted === true && !signal.aborted ? notReady() : error;
      });
    try {
      const leave = await this.#admission.enter(fn, signal);
      return () => {
        leave();
        shared?.();
      };
    } catch (error) {
      shared?.();
      throw error;
    }
  }

  /**
   * Reserves at most so many places of those that servers share for asynchronous calls; undefined if the function has no limit that
   * servers share.
   */
  async reserve(fn: Function, most: number): Promise<SharedPlace[] | undefined> {
    if (this.#sharedPlaces === null || fn.max_concurrency === 0) return undefined;
    return this.#sharedPlaces.reserve(fn, most);
  }

  /** Passes on news of other servers about the places of functions that all of them share. */
  sharedPlacesChanged({ freed, wanted }: SharedPlaceNews): void {
    this.#sharedPlaces?.freed(freed);
    this.#sharedPlaces?.wanted(wanted);
  }

  /** Returns how many asynchronous calls could run now, with room left for synchronous calls. */
  roomBehind(fn: Function, coming: Coming): number {
    return this.#platform.health.problem === undefined ? this.#admission.roomBehind(fn, coming) : 0;
  }

  /** Prepares a registered or changed function for a warm next call. `named` are the versions that routes name. */
  update(fn: Function, named: readonly Function[]): void {
    if (fn.image_id !== null) this.#pools.update(fn, named.filter(hasImage));
  }

  /** Prepares the versions that the routes of a function name now: the next call of each will be a warm one. */
  name(fn: Function, named: readonly Function[]): void {
    this.#pools.name(fn, named.filter(hasImage));
  }

  /** Makes a version of a function ready before anyone calls it. */
  warm(fn: Function): void {
    if (hasImage(fn)) this.#pools.warm(fn);
  }

  /**
   * Replaces the instances that were handed a secret's value when they booted. Functions of other contracts get the values of
   * their secrets with each call.
   */
  secretChanged(name: string): void {
    const uses = ({ contract, secrets }: Function) =>
      isBooted(contract) && secrets.some((secret) => secret.name === name);
    this.#pools.renew((pool) => uses(pool.function));
  }

  /**
   * Waits until a function could serve a call, with an instance that its next call gets. Throws the error that keeps one from
   * being started, and the signal's reason if it aborts.
   */
  async tryOut(fn: Function, signal: AbortSignal): Promise<void> {
    await this.#untilKnown(signal);
    await this.#pools.tryOut(fn, signal);
  }

  /**
   * Starts a function of the contract `http` once to see whether it is a server. Throws the error that keeps its container from
   * being started.
   */
  trialBoot(fn: Function): Promise<TrialEnd> {
    return this.#trials.run(fn);
  }

  /** Returns how a function booted last, or nothing. */
  lastBootOf(functionId: string): Boot | undefined {
    return this.#starter.lastBoots.of(functionId);
  }

  /** Removes a deleted function. */
  remove(functionId: string): void {
    this.#starter.lastBoots.forget(functionId);
    this.#pools.remove(functionId);
  }

  /** Returns the instances of a function by version. */
  poolsOf(functionId: string): readonly VersionPool[] {
    return this.#pools.statesOf(functionId);
  }

  /** Ends all instances but does not wait until they are gone: that is the platform's part. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#pools[Symbol.dispose]();
    this.#sharedPlaces?.[Symbol.dispose]();
    this.#stopping.abort(new AppError("shutting_down", "The server stopped: try again in a moment"));
    await this.#launches.settledWithin(this.#options.clock, LAST_LAUNCHES_MS);
  }

  /**
   * Waits until the platform was asked whether it is there: in the first moments of a server, and after its connection was cut.
   * Throws the signal's reason if it aborts, as it does when a server stops that has asked nothing yet.
   */
  async #untilKnown(signal: AbortSignal): Promise<void> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const stop = onAbort(signal, () => reject(signal.reason));
    try {
      await Promise.race([this.#platform.health.settled, aborted]);
    } finally {
      stop();
    }
  }

  /** Gets an instance for a call that was admitted at this time, and has it serve the call. */
  async #runOn(call: Call, admitted: number): Promise<{ readonly run: Run; readonly gone: () => Promise<void> }> {
    const { clock } = this.#options;
    for (let tries = 1; ; tries++) {
      const acquired = await this.#pools.acquire(call.function, call.signal, call.ready_only === true && tries === 1);
      const started = clock.monotonic();
      call.onTiming({ start_ms: started - admitted, start: acquired.start });
      try {
        const run = await this.#serve(call, acquired);
        call.onTiming({ run_ms: clock.monotonic() - started });
        return { run, gone: () => acquired.instance.gone() };
      } catch (error) {
        if (!(error instanceof NotDelivered)) throw error;
        if (tries === DELIVERY_TRIES) throw new AppError("instance_lost", `${error.message}: see its logs`);
      }
    }
  }

  async #serve(call: Call, { instance, leave }: Acquired): Promise<Run> {
    const { timeout_ms } = call.function;
    try {
      // Synchronous calls have none, and wait for nothing here.
      const by = await call.onHandover?.(timeout_ms + KILL_GRACE_MS + TIMEOUT_SLACK_MS);
      const run = await handOver(call, instance, this.#options, by);
      const boots = instance instanceof BootedInstance;
      // One that boots may serve other calls besides.
      void run.reusable.then((reusable) => (reusable || boots) && this.#pools.giveBack(instance, reusable));
      // An answer that streams goes on after this.
      if (boots || run.outcome.response?.body instanceof ReadableStream) void run.over.finally(leave);
      else leave();
      return run;
    } catch (error) {
      // The handover was refused (the disk is full), or the call did not fit into frames and the gate may have got a part.
      if (instance instanceof BootedInstance) this.#pools.giveBack(instance, false);
      else instance.retire();
      leave();
      throw error;
    }
  }

  async #tryBoot(fn: Function, group: string): Promise<PoolInstance> {
    try {
      return await this.#starter.trial(fn, group);
    } finally {
      this.#platform.release(group);
    }
  }
}

/** Returns whether a function has an image: one of an older database may get it at its first call. */
function hasImage({ image_id }: Function): boolean {
  return image_id !== null;
}
