import type { Clock } from "../../clock.ts";
import { onAbort } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Function, PoolState } from "../../domain/functions/functions.ts";
import { DemandMeter, targetOf } from "./demand.ts";
import type { Instance } from "../instance/instance.ts";

/** A call that waits for an instance. */
interface WaitingCall {
  readonly give: (instance: Instance) => void;
  readonly fail: (error: unknown) => void;
}

/** The pause after a failed start, before the next one that no call waits for, in milliseconds; doubled each time. */
const BACKOFF_MS = { first: 1_000, most: 60_000 } as const;

/**
 * The instances of one version of a function. A pool knows how many it needs; `Pools`, which sees all pools, decides
 * whether and when they are started. It does no I/O.
 *
 * An instance is *starting* from the moment `Pools` begins to launch it, *ready* while it waits here, and *busy* from
 * the moment a call took it until it comes back (`max_calls`) or is gone. A call takes a ready one, or waits for
 * the next one, wherever it comes from. A change that makes instances useless begins a new generation: instances of older
 * generations finish their call and are not taken back.
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
  readonly #ready: Instance[] = [];
  readonly #busy = new Set<Instance>();
  readonly #waiting = new Set<WaitingCall>();
  #starting = 0;
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

  get ready(): readonly Instance[] {
    return this.#ready;
  }

  get isEmpty(): boolean {
    return this.#ready.length + this.#busy.size + this.#starting + this.#waiting.size === 0;
  }

  get state(): PoolState {
    const state = { ready: this.#ready.length, starting: this.#starting, busy: this.#busy.size, target: this.target };
    return this.#problem === undefined ? state : { ...state, problem: this.#problem };
  }

  get target(): number {
    if (this.#ended) return 0;
    const { warm_min, warm_max, idle_ttl_ms, max_calls } = this.#fn;
    const settings = { warm_min, warm_max: Math.min(warm_max, this.#warmMax), idle_ttl_ms, max_calls };
    return targetOf(this.#meter.demand(this.#clock.monotonic()), settings);
  }

  /** The number of starts that calls wait for and that have not begun. */
  get callNeed(): number {
    return Math.max(0, this.#unserved - this.#current);
  }

  /** The number of starts that would bring the pool to its target; none for a while after one has failed. */
  get refillNeed(): number {
    if (this.#clock.monotonic() < this.#refillsAfter) return 0;
    const coming = Math.max(0, this.#current - this.#unserved);
    return Math.max(0, this.target - this.#kept - coming);
  }

  /** The instances beyond the target, those that have waited longest first. */
  get surplus(): readonly Instance[] {
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

  /** The number of instances that are or will be ready: a busy one comes back unless it serves one call only. */
  get #kept(): number {
    return this.#ready.length + (this.#fn.max_calls === 1 ? 0 : this.#busy.size);
  }

  /** Notes that a call begins. `leave` must be called when it ends. */
  arrive(): void {
    this.#meter.arrive(this.#clock.monotonic());
  }

  leave(): void {
    this.#meter.leave(this.#clock.monotonic());
  }

  /** Takes an instance that is ready, or returns nothing. The newest goes first: its memory is the warmest. */
  take(): Instance | undefined {
    const instance = this.#ready.pop();
    if (instance !== undefined) this.#busy.add(instance);
    return instance;
  }

  /** Waits for the next instance. Rejects with the error of a start, or the signal's reason. */
  wait(signal: AbortSignal): Promise<Instance> {
    const { promise, resolve, reject } = Promise.withResolvers<Instance>();
    if (signal.aborted) return Promise.reject(signal.reason);
    const call: WaitingCall = { give: resolve, fail: reject };
    this.#waiting.add(call);
    const stopListening = onAbort(signal, () => {
      this.#waiting.delete(call);
      reject(signal.reason);
    });
    return promise.finally(stopListening);
  }

  /** Notes that a start of the current generation has begun. */
  starting(): void {
    this.#starting++;
    this.#current++;
  }

  /** Notes that a start has succeeded after so many milliseconds. */
  started(generation: number, durationMs: number): void {
    this.#meter.refilled(durationMs);
    if (this.#startEnded(generation)) this.forgive();
  }

  /**
   * Notes that a start has failed: the call that has waited longest gets the error, and refills pause. A failure of the
   * function as it was before a change no longer matters.
   */
  failed(generation: number, error: unknown): void {
    if (!this.#startEnded(generation)) return;
    this.#refillsAfter = this.#clock.monotonic() + Math.min(BACKOFF_MS.first * 2 ** this.#failures++, BACKOFF_MS.most);
    this.#problem = messageOf(error);
    this.#nextWaiting()?.fail(error);
  }

  /** Fails all calls that wait. */
  turnAway(error: unknown): void {
    for (let call = this.#nextWaiting(); call !== undefined; call = this.#nextWaiting()) call.fail(error);
  }

  /** Gives a ready instance to the call that has waited longest, or keeps it. */
  offer(instance: Instance): void {
    this.#busy.delete(instance);
    const call = this.#nextWaiting();
    if (call === undefined) {
      this.#ready.push(instance);
      return;
    }
    this.#busy.add(instance);
    call.give(instance);
  }

  /** Forgets an instance that is gone, or is about to go. */
  drop(instance: Instance): void {
    this.#busy.delete(instance);
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
    this.#ended = false;
  }

  /** Begins a new generation: no instance so far will serve another call. */
  renew(): void {
    this.#generation++;
    this.#current = 0;
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

  #nextWaiting(): WaitingCall | undefined {
    const call = this.#waiting.values().next().value;
    if (call !== undefined) this.#waiting.delete(call);
    return call;
  }
}

/** Returns the key of a version of a function. */
export function poolKey({ id, version }: Pick<Function, "id" | "version">): string {
  return `${id}@${version}`;
}
