import type { Clock } from "../clock.ts";
import type { AppError } from "../domain/errors.ts";
import type { Function } from "../domain/functions.ts";
import type { Invocation } from "../domain/invocations.ts";
import { type EngineAddress, EngineConnection } from "../engine/connection.ts";
import { Containers } from "../engine/containers.ts";
import { EngineEvents } from "../engine/events.ts";
import { Images } from "../engine/images.ts";
import { engineArchitecture } from "../engine/system.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { Admission, type Place } from "./admission.ts";
import { Custody } from "./custody.ts";
import { GateVolume } from "./gate-volume.ts";
import { gateBinary } from "./gate/binary.ts";
import { ImageResolver } from "./image-resolver.ts";
import type { Instance, Run } from "./instance.ts";
import { ImageGoneError, Launcher } from "./launcher.ts";
import { sweep, SWEEP_INTERVAL_MS, SWEEP_RETRY_MS } from "./sweep.ts";

/** How the runner is set up; the values come from the server's options. */
export interface RunnerOptions {
  readonly owner: string;
  readonly engine: EngineAddress;
  readonly engine_timeout_ms: number;
  readonly pull_timeout_ms: number;
  readonly context_name: string;
  readonly context_path: string;
  readonly max_instances: number;
  readonly queue_limit: number;
  readonly response_bytes: number;
  readonly log_bytes: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** A call as the services hand it over. */
export interface Call {
  readonly id: string;
  readonly function: Function;
  readonly body: Uint8Array;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Told the waits as they end, so that a call that fails later still has them in its record. */
  readonly onTiming: (timing: Partial<Pick<Invocation, "queue_ms" | "start_ms" | "run_ms" | "start">>) => void;
  /** Brings back the function's image when the engine has lost it, once a call. */
  readonly restoreImage: () => Promise<void>;
}

/**
 * The heart: takes calls, admits them, gets each an instance and has it served. It also owns what lives as long as
 * the server does: the watch over the engine, the sweep, and the instances.
 */
export class Runner implements AsyncDisposable {
  readonly images: ImageResolver;
  readonly #options: RunnerOptions;
  readonly #connection: EngineConnection;
  readonly #containers: Containers;
  readonly #events: EngineEvents;
  readonly #custody: Custody;
  readonly #launcher: Launcher;
  readonly #admission: Admission;
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
      onConnected: () => this.sweep(),
      onCreated: (container) => this.#custody.noteCreated(container),
    });
    this.#custody = new Custody({ containers: this.#containers, events: this.#events, clock, log });
    this.images = new ImageResolver({ images: new Images(this.#connection, options.pull_timeout_ms), metrics, log });
    this.#admission = new Admission({
      max_instances: options.max_instances,
      queue_limit: options.queue_limit,
      monotonic: () => clock.monotonic(),
    });
    const gates = new GateVolume({
      containers: this.#containers,
      custody: this.#custody,
      owner,
      volume: options.context_name,
      gate: async () => gateBinary(await engineArchitecture(this.#connection)),
    });
    this.#launcher = new Launcher({
      containers: this.#containers,
      custody: this.#custody,
      events: this.#events,
      images: this.images,
      gates,
      clock,
      log,
      owner,
      context_root: options.context_path,
      timeout_ms: options.engine_timeout_ms,
    });
    this.#watch(metrics);
  }

  /** Begins to watch the engine and to sweep; does not wait for either. */
  start(): void {
    this.#events.start();
    this.#scheduleSweep(SWEEP_INTERVAL_MS);
  }

  /** Why no function can run now, or nothing. */
  get problem(): AppError | undefined {
    return this.#events.problem;
  }

  /** Asks the engine now, with little patience, and tells why it cannot be used, or nothing. */
  probe(): Promise<AppError | undefined> {
    return this.#events.probe();
  }

  /**
   * Runs a call. Throws where no instance could be had (`overloaded`, `engine_unavailable`, `image_unavailable`, ...);
   * what happens once the gate has the request is an outcome.
   */
  async run(call: Call): Promise<Run> {
    const { clock } = this.#options;
    const asked = clock.monotonic();
    const leave = await this.#admission.enter(call.signal);
    const admitted = clock.monotonic();
    call.onTiming({ queue_ms: admitted - asked });
    const instance = await this.#instanceFor(call, leave);
    const started = clock.monotonic();
    call.onTiming({ start_ms: started - admitted, start: "cold" });
    const run = await instance.serve({
      id: call.id,
      body: call.body,
      timeout_ms: call.function.timeout_ms,
      response_limit: this.#options.response_bytes,
      log_limit: this.#options.log_bytes,
      context_root: this.#options.context_path,
      signal: call.signal,
    });
    call.onTiming({ run_ms: clock.monotonic() - started });
    return run;
  }

  /** Removes containers that servers of this database left behind; what cannot be removed now is tried again soon. */
  async sweep(): Promise<void> {
    const { owner, log } = this.#options;
    try {
      const { left } = await sweep({
        containers: this.#containers,
        owner,
        in_use: (name) => this.#custody.owns(name),
        log,
      });
      this.#scheduleSweep(left > 0 ? SWEEP_RETRY_MS : SWEEP_INTERVAL_MS);
    } catch (error) {
      log.warn("sweep failed", { error });
      this.#scheduleSweep(SWEEP_RETRY_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#cancelSweep();
    this.#launcher[Symbol.dispose]();
    await this.#custody[Symbol.asyncDispose]();
    await this.#events[Symbol.asyncDispose]();
    this.#connection[Symbol.dispose]();
  }

  /** Gets a call its instance, and holds its place until that is retired, or could not be had. */
  async #instanceFor(call: Call, leave: Place): Promise<Instance> {
    const launching = this.#launch(call);
    void launching.then(({ retired }) => retired).then(leave, leave);
    // An engine that hangs, or a long pull, must not keep a caller who is gone or a server that is to stop.
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => {
      reject(call.signal.reason);
      launching.then((instance) => instance.retire()).catch(() => undefined); // nobody waits for it any more
    };
    call.signal.addEventListener("abort", abort, { once: true });
    if (call.signal.aborted) abort();
    try {
      return await Promise.race([launching, aborted]);
    } finally {
      call.signal.removeEventListener("abort", abort);
    }
  }

  async #launch(call: Call): Promise<Instance> {
    try {
      return await this.#launcher.launch(call.function, call.signal);
    } catch (error) {
      if (!(error instanceof ImageGoneError)) throw error;
      await call.restoreImage();
      return this.#launcher.launch(call.function, call.signal);
    }
  }

  #scheduleSweep(delayMs: number): void {
    this.#cancelSweep();
    if (this.#stopped) return;
    // An engine that is away is swept when it is back.
    const run = () => (this.#events.problem ? this.#scheduleSweep(SWEEP_INTERVAL_MS) : void this.sweep());
    this.#cancelSweep = this.#options.clock.after(delayMs, run);
  }

  #watch(metrics: Metrics): void {
    metrics.gauge("slipway_instances", "Instances by state", ["state"], () => {
      const counts = new Map<string, number>([
        ["starting", 0],
        ["ready", 0],
        ["busy", 0],
      ]);
      for (const { state } of this.#launcher.instances) counts.set(state, (counts.get(state) ?? 0) + 1);
      return [...counts].map(([state, value]) => ({ labels: { state }, value }));
    });
    metrics.gauge("slipway_queued_calls", "Calls that wait for a place among the running instances", [], () => [
      { value: this.#admission.waiting },
    ]);
    metrics.gauge("slipway_engine_up", "1 while the engine answers", [], () => [{ value: this.problem ? 0 : 1 }]);
  }
}
