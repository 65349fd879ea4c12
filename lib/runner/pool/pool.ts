import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import { isBooted } from "../../domain/functions/contract.ts";
import type { Function, PoolState } from "../../domain/functions/functions.ts";
import { DemandMeter, targetOf } from "./demand.ts";
import type { PoolInstance } from "../instance/pool-instance.ts";
import { callsOfOne, SharedInstances } from "./shared-instances.ts";

/** A call that waits for an instance. */
interface WaitingCall {
  /** True if it only wants to know whether there is one. */
  readonly trial: boolean;
  readonly give: (instance: PoolInstance) => void;
  readonly fail: (error: unknown) => void;
}

/** A start whose instance boots: the platform has done its part. */
export interface Boot {
  /** The generation of the pool that its instance will be of. */
  readonly generation: number;
  /** Ends the boot: the start fails. */
  giveUp: () => void;
  isGivenUp: boolean;
}

/** The pause after a failed start, before the next one that no call waits for, in milliseconds; doubled each time. */
const BACKOFF_MS = { first: 1_000, most: 60_000 } as const;

/**
 * The instances of one version of a function. A pool knows how many it needs; `Pools`, which sees all pools, decides
 * whether and when they are started. It does no I/O.
 *
 * An instance is *starting* from the moment `Pools` begins to launch it, *booting* if its function is started before its
 * first call, *ready* while it waits here, and *busy* from the moment a call took it until it comes back (`max_calls`) or
 * is gone. A call takes a ready one, or waits for the next one, wherever it comes from. A change that makes instances useless
 * begins a new generation: instances of older generations finish their calls and are not taken back.
 *
 * Where an instance serves several calls at once (`concurrency`), a busy one with room for another takes calls as a ready
 * one does; the one with the fewest calls goes first, which is a ready one if there is any.
 */
export class Pool {
  /**
   * The id of the function and the version that the pool began with. It may move on to other versions with the same
   * container fields: this key names the group of its instances for the platform.
   */
  readonly key: string;
  #fn: Function;
  #generation = 0;
  readonly #clock: Clock;
  readonly #warmMax: number;
  readonly #meter: DemandMeter;
  readonly #ready: PoolInstance[] = [];
  readonly #busy = new Set<PoolInstance>();
  /** The calls of each instance, once the function lets one serve several at once. */
  #shared: SharedInstances | undefined;
  readonly #waiting = new Set<WaitingCall>();
  /** Those of them that only want to know whether there is an instance. */
  #trials = 0;
  #starting = 0;
  /** Those of the starts whose instances boot, the longest first. */
  readonly #boots = new Set<Boot>();
  /** The starts whose instances will be of this generation; the others do not help calls that wait. */
  #current = 0;
  #ended = false;
  #failures = 0;
  #problem: string | undefined;
  #refillsAfter = -Infinity;

  /**
   * `warmMax` is the server's bound on each function's own. `heirOf` is the pool whose calls will come to this one, which
   * is as large from the beginning.
   */
  constructor(fn: Function, clock: Clock, warmMax = Infinity, heirOf?: Pool) {
    this.key = poolKey(fn);
    this.#fn = fn;
    this.#shared = fn.concurrency > 1 ? new SharedInstances() : undefined;
    this.#warmMax = warmMax;
    this.#clock = clock;
    this.#meter = heirOf === undefined ? new DemandMeter(clock.monotonic()) : heirOf.#meter;
    this.#meter.touch(clock.monotonic());
  }

  get function(): Function {
    return this.#fn;
  }

  get generation(): number {
    return this.#generation;
  }

  get lastCall(): number {
    return this.#meter.lastCall;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get ready(): readonly PoolInstance[] {
    return this.#ready;
  }

  /** True if a call would find an instance at once. */
  get isOpen(): boolean {
    return this.#ready.length > 0 || this.#shared?.leastLoaded() !== undefined;
  }

  get isEmpty(): boolean {
    return this.#ready.length + this.#busy.size + this.#starting + this.#waiting.size === 0;
  }

  get state(): PoolState {
    const state = {
      ready: this.#ready.length,
      starting: this.#starting - this.#boots.size,
      busy: this.#busy.size,
      target: this.target,
      ...(isBooted(this.#fn.contract) && {
        booting: this.#boots.size,
        streams: this.#shared?.streams ?? this.#busy.size,
      }),
    };
    return this.#problem === undefined ? state : { ...state, problem: this.#problem };
  }

  get target(): number {
    if (this.#ended) return 0;
    const { warm_min, warm_max, idle_ttl_ms, max_calls, concurrency } = this.#fn;
    const settings = { warm_min, warm_max: Math.min(warm_max, this.#warmMax), idle_ttl_ms, max_calls, concurrency };
    return targetOf(this.#meter.demand(this.#clock.monotonic()), settings);
  }

  /** The number of starts that calls wait for and that have not begun. */
  get callNeed(): number {
    return Math.max(0, this.#startsFor(this.#unserved) - this.#current);
  }

  /** The number of starts that would bring the pool to its target; none for a while after one has failed. */
  get refillNeed(): number {
    if (this.#clock.monotonic() < this.#refillsAfter) return 0;
    return Math.max(0, this.target - this.#kept - this.#coming);
  }

  /** The instances beyond the target, those that have waited longest first. */
  get surplus(): readonly PoolInstance[] {
    return this.#ready.slice(0, Math.max(0, this.#kept - this.target));
  }

  /**
   * The number of calls that wait for a start. An instance that cleans up after its last call is back long before any start
   * ends, so as many calls wait for that: at full load the next call often comes in those microseconds.
   */
  get #unserved(): number {
    let count = this.#waiting.size;
    if (count === 0) return 0;
    for (const instance of this.#busy) if (instance.state === "resetting" && --count === 0) return 0;
    return count;
  }

  /** The number of starts whose instances will be kept: those that calls wait for as well, unless each serves one call only. */
  get #coming(): number {
    if (this.#fn.max_calls !== 1) return this.#current;
    return Math.max(0, this.#current - Math.max(0, this.#unserved - this.#trials));
  }

  /** The number of instances that are or will be ready: a busy one comes back unless it serves its last calls. */
  get #kept(): number {
    return this.#ready.length + (this.#fn.max_calls === 1 ? 0 : this.#busy.size - (this.#shared?.draining ?? 0));
  }

  /** Returns how many new instances would serve so many calls. */
  #startsFor(calls: number): number {
    return this.#shared === undefined ? calls : Math.ceil(calls / callsOfOne(this.#fn));
  }

  /** Notes that a call begins. `leave` must be called when it ends. */
  arrive(): void {
    this.#meter.arrive(this.#clock.monotonic());
  }

  leave(): void {
    this.#meter.leave(this.#clock.monotonic());
  }

  /**
   * Takes an instance for a call, or returns nothing: of those that are ready the newest, whose memory is the warmest; else,
   * of those that serve calls and have room for another, the one that serves the fewest.
   */
  take(): PoolInstance | undefined {
    const instance = this.#ready.pop();
    if (instance === undefined && this.#shared === undefined) return undefined;
    const taken = instance ?? this.#shared?.leastLoaded();
    if (taken !== undefined) this.#use(taken);
    return taken;
  }

  /**
   * Waits for the next instance; with `trial` only to know that there is one, which the wait does not take. Rejects with the
   * error of a start, or the signal's reason.
   */
  wait(signal: AbortSignal, trial = false): Promise<PoolInstance> {
    const { promise, resolve, reject } = Promise.withResolvers<PoolInstance>();
    if (signal.aborted) return Promise.reject(signal.reason);
    const call: WaitingCall = { trial, give: resolve, fail: reject };
    this.#waiting.add(call);
    if (trial) this.#trials++;
    const stopListening = onAbort(signal, () => {
      this.#leaves(call);
      reject(signal.reason);
    });
    return promise.finally(stopListening);
  }

  /** Notes that a start of the current generation has begun. */
  starting(): void {
    this.#starting++;
    this.#current++;
  }

  /** Notes that the instance of a start has begun to boot. */
  bootBegins(boot: Boot): void {
    this.#boots.add(boot);
  }

  /** Notes the same of another try, after the first container was lost. */
  bootBeginsAgain(boot: Boot, giveUp: () => void): void {
    boot.giveUp = giveUp;
    if (boot.isGivenUp) giveUp();
  }

  bootEnds(boot: Boot): void {
    this.#boots.delete(boot);
  }

  /** Gives up the boots whose instances would serve nobody: a boot may take a minute, and hold its memory meanwhile. */
  giveUpBoots(): void {
    let wanted = this.#ended ? this.#startsFor(this.#unserved) : Infinity;
    for (const boot of this.#boots) {
      if (boot.isGivenUp || (boot.generation === this.#generation && wanted-- > 0)) continue;
      boot.isGivenUp = true;
      boot.giveUp();
    }
  }

  /** Notes that a start has succeeded after so many milliseconds. */
  started(generation: number, durationMs: number): void {
    this.#meter.refilled(durationMs);
    if (this.#startEnded(generation)) this.forgive();
  }

  /**
   * Notes that a start has failed: the call that has waited longest gets the error (or as many as the instance would have
   * served at once), and refills pause. A failure of the function as it was before a change no longer matters.
   */
  failed(generation: number, error: unknown): void {
    if (!this.#startEnded(generation)) return;
    this.#refillsAfter = this.#clock.monotonic() + Math.min(BACKOFF_MS.first * 2 ** this.#failures++, BACKOFF_MS.most);
    this.#problem = messageOf(error);
    for (let calls = callsOfOne(this.#fn); calls > 0; calls--) this.#nextWaiting()?.fail(error);
  }

  /** Notes that a start has ended because it was given up: that says nothing of the next one. */
  startGivenUp(generation: number): void {
    this.#startEnded(generation);
  }

  /** Fails all calls that wait. */
  turnAway(error: unknown): void {
    for (let call = this.#nextWaiting(); call !== undefined; call = this.#nextWaiting()) call.fail(error);
  }

  /**
   * Gives an instance that is new, or one of whose calls has ended, to the calls that have waited longest, or keeps it.
   */
  offer(instance: PoolInstance): void {
    if (this.#trials > 0) this.#tellTrials(instance);
    if (this.#shared !== undefined) return this.#offerShared(this.#shared, instance);
    this.#busy.delete(instance);
    const call = this.#nextWaiting();
    if (call === undefined) {
      this.#ready.push(instance);
      return;
    }
    this.#busy.add(instance);
    call.give(instance);
  }

  /** Notes that a call was promised an instance and has not used it. The instance is then offered, or released. */
  refund(instance: PoolInstance): void {
    this.#shared?.refund(instance);
  }

  /** Ends a call of an instance that must not get another; returns the number of calls that it still serves. */
  release(instance: PoolInstance): number {
    this.#shared?.drain(instance);
    return this.#shared?.end(instance) ?? 0;
  }

  /** Forgets an instance that is gone, or is about to go. */
  drop(instance: PoolInstance): void {
    this.#busy.delete(instance);
    this.#shared?.delete(instance);
    const at = this.#ready.indexOf(instance);
    if (at !== -1) this.#ready.splice(at, 1);
  }

  /** Goes on with a changed function. With `fresh`, the instances so far become an older generation. */
  change(fn: Function, fresh: boolean): void {
    this.#meter.touch(this.#clock.monotonic());
    this.forgive();
    this.goOn(fn);
    if (fresh) this.renew();
  }

  /** Keeps instances again after an end, with the fields that may have changed without a new version. */
  goOn(fn: Function): void {
    this.#fn = fn;
    if (fn.concurrency > 1) this.#shared ??= new SharedInstances();
    this.#ended = false;
  }

  /** Begins a new generation: no instance so far will serve another call, and those that serve some end with them. */
  renew(): void {
    this.#generation++;
    this.#current = 0;
    this.forgive();
    this.#shared?.drainAll();
  }

  /**
   * Ends the pool of a function, or a version of it, that is gone: calls that have begun are served by the instances
   * that exist or are being started, and none is kept ready.
   */
  end(): void {
    this.#ended = true;
  }

  /** Forgets failures: the engine is back, or a start has succeeded. */
  forgive(): void {
    this.#refillsAfter = -Infinity;
    this.#failures = 0;
    this.#problem = undefined;
  }

  /** Notes the end of a start. Returns whether it was of the current generation. */
  #startEnded(generation: number): boolean {
    this.#starting--;
    const current = generation === this.#generation;
    if (current) this.#current--;
    return current;
  }

  #use(instance: PoolInstance): void {
    this.#busy.add(instance);
    this.#shared?.begin(instance);
  }

  #offerShared(shared: SharedInstances, instance: PoolInstance): void {
    if (shared.has(instance)) shared.end(instance);
    else shared.add(instance, this.#fn);
    while (shared.hasRoom(instance)) {
      const call = this.#nextWaiting();
      if (call === undefined) break;
      this.#use(instance);
      call.give(instance);
    }
    if (shared.streamsOf(instance) > 0) return;
    this.#busy.delete(instance);
    this.#ready.push(instance);
  }

  #nextWaiting(): WaitingCall | undefined {
    const call = this.#waiting.values().next().value;
    if (call !== undefined) this.#leaves(call);
    return call;
  }

  /** Tells those that only want to know. They hold no instance, which would have another started in its place. */
  #tellTrials(instance: PoolInstance): void {
    for (const call of this.#waiting) {
      if (!call.trial) continue;
      this.#leaves(call);
      call.give(instance);
    }
  }

  #leaves(call: WaitingCall): void {
    if (this.#waiting.delete(call) && call.trial) this.#trials--;
  }
}

/** Returns the key of a version of a function. */
export function poolKey({ id, version }: Pick<Function, "id" | "version">): string {
  return `${id}@${version}`;
}
