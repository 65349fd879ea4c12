import type { Clock } from "../../clock.ts";
import type { Function, PoolState } from "../../domain/functions/functions.ts";
import { DemandMeter, targetOf } from "./demand.ts";
import type { Instance } from "../instance/instance.ts";

/** A call that waits for an instance. */
interface WaitingCall {
  readonly give: (instance: Instance) => void;
  readonly fail: (error: unknown) => void;
}

/** After a start that failed, before the next one that nobody waits for, in milliseconds; doubled each time. */
const BACKOFF_MS = { first: 1_000, most: 60_000 } as const;

/**
 * The instances of one version of a function. A pool knows how many it needs; whether and when they are started is up
 * to `Pools`, which sees all of them. It does no I/O.
 *
 * An instance is *starting* from the moment `Pools` begins to launch it, *ready* while it waits here, and *busy* from
 * the moment a call took it until it comes back (`max_calls`) or is gone. A call takes a ready one, or waits for the
 * next that becomes so, wherever it comes from. What makes instances useless begins a new generation: those of older
 * ones finish their call and are not taken back.
 */
export class Pool {
  /**
   * The id of the function and the version that the pool began with. It may move on to others, but only of the same
   * shape: what its instances share is known by this.
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
  /** Those of the starts whose instances will be of this generation; the others are no help to anyone who waits. */
  #current = 0;
  #ended = false;
  #failures = 0;
  #refillsAfter = -Infinity;

  /**
   * `warmMax` is the server's bound on every function's own; `heirOf` the pool whose calls will come to this one, so that
   * it is as large from the beginning.
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
    return { ready: this.#ready.length, starting: this.#starting, busy: this.#busy.size, target: this.target };
  }

  get target(): number {
    if (this.#ended) return 0;
    const settings = { ...this.#fn, warm_max: Math.min(this.#fn.warm_max, this.#warmMax) };
    return targetOf(this.#meter.demand(this.#clock.monotonic()), settings);
  }

  /** Starts that calls wait for and nobody has begun. */
  get callNeed(): number {
    return Math.max(0, this.#unserved - this.#current);
  }

  /** Starts that would bring the pool to its target; none for a while after one has failed. */
  get refillNeed(): number {
    if (this.#clock.monotonic() < this.#refillsAfter) return 0;
    const coming = Math.max(0, this.#current - this.#unserved);
    return Math.max(0, this.target - this.#kept - coming);
  }

  /** Instances beyond the target, longest waiting first. */
  get surplus(): readonly Instance[] {
    return this.#ready.slice(0, Math.max(0, this.#kept - this.target));
  }

  /**
   * Calls that wait for a start. An instance that clears away what its last call left is back long before any start, so
   * as many calls wait for that: at full load the next call often comes in those microseconds.
   */
  get #unserved(): number {
    let count = this.#waiting.size;
    if (count === 0) return 0;
    for (const instance of this.#busy) if (instance.state === "resetting" && --count === 0) return 0;
    return count;
  }

  /** Instances that are, or will be, ready: a busy one comes back unless it serves one call only. */
  get #kept(): number {
    return this.#ready.length + (this.#fn.max_calls === 1 ? 0 : this.#busy.size);
  }

  /** A call begins; it is to be told when it ends. */
  arrive(): void {
    this.#meter.arrive(this.#clock.monotonic());
  }

  leave(): void {
    this.#meter.leave(this.#clock.monotonic());
  }

  /** An instance that is ready, or nothing. The newest goes first: its pages are the warmest. */
  take(): Instance | undefined {
    const instance = this.#ready.pop();
    if (instance !== undefined) this.#busy.add(instance);
    return instance;
  }

  /** Waits for the next instance; rejects with the error of a start, or the signal's reason. */
  wait(signal: AbortSignal): Promise<Instance> {
    const { promise, resolve, reject } = Promise.withResolvers<Instance>();
    if (signal.aborted) return Promise.reject(signal.reason);
    const call: WaitingCall = { give: resolve, fail: reject };
    const leave = () => {
      this.#waiting.delete(call);
      reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    this.#waiting.add(call);
    return promise.finally(() => signal.removeEventListener("abort", leave));
  }

  /** A start has begun, of an instance of the present generation. */
  starting(): void {
    this.#starting++;
    this.#current++;
  }

  /** A start has ended well, after so many milliseconds. */
  started(generation: number, durationMs: number): void {
    this.#meter.refilled(durationMs);
    if (this.#startEnded(generation)) this.forgive();
  }

  /**
   * A start has failed: the call that has waited longest is told, and refills pause. What failed for the function as it
   * was before a change is nobody's concern any more.
   */
  failed(generation: number, error: unknown): void {
    if (!this.#startEnded(generation)) return;
    this.#refillsAfter = this.#clock.monotonic() + Math.min(BACKOFF_MS.first * 2 ** this.#failures++, BACKOFF_MS.most);
    this.#nextWaiting()?.fail(error);
  }

  /** Tells all who wait that there will be no instance. */
  turnAway(error: unknown): void {
    for (let call = this.#nextWaiting(); call !== undefined; call = this.#nextWaiting()) call.fail(error);
  }

  /** Takes an instance that is ready: for the call that has waited longest, else to keep. */
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

  /** Forgets an instance that is gone, or is to go. */
  drop(instance: Instance): void {
    this.#busy.delete(instance);
    const at = this.#ready.indexOf(instance);
    if (at !== -1) this.#ready.splice(at, 1);
  }

  /** Goes on with a changed function; its instances so far are of an older generation where they would differ. */
  change(fn: Function, fresh: boolean): void {
    this.#meter.touch(this.#clock.monotonic());
    this.forgive();
    this.goOn(fn);
    if (fresh) this.renew();
  }

  /** Keeps instances again, after an end, and with what may have changed without another version. */
  goOn(fn: Function): void {
    this.#fn = fn;
    this.#ended = false;
  }

  /** Begins a new generation: no instance so far is to serve another call. */
  renew(): void {
    this.#generation++;
    this.#current = 0;
  }

  /**
   * The function, or this version of it, is no more: calls that have begun are served, with what there is and what is
   * being started, and nothing is kept ready.
   */
  end(): void {
    this.#ended = true;
  }

  /** The engine is back, or works after all: what failed before says nothing any more. */
  forgive(): void {
    this.#refillsAfter = -Infinity;
    this.#failures = 0;
  }

  /** Takes note of the end of a start; true where it was of the present generation. */
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

/** What a version of a function is known by. */
export function poolKey({ id, version }: Pick<Function, "id" | "version">): string {
  return `${id}@${version}`;
}
