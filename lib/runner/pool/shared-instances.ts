import type { PoolInstance } from "../instance/pool-instance.ts";

/** The calls of an instance. */
interface Load {
  /** Calls that it serves, or was chosen for a moment ago: each is a stream to it. */
  streams: number;
  /** The most that it serves at once: the function's `concurrency`, or what its gate has memory for. */
  readonly most: number;
  /** The calls that it may still be given; none if it drains. */
  left: number;
}

/** The settings of a function that say how many calls an instance serves, at once and in all. */
export interface Sharing {
  readonly concurrency: number;
  /** 0 for no limit. */
  readonly max_calls: number;
}

/** Returns how many of the calls that wait one new instance would serve. */
export function callsOfOne({ concurrency, max_calls }: Sharing): number {
  return max_calls === 0 ? concurrency : Math.min(concurrency, max_calls);
}

/**
 * Counts the calls of instances that serve several at once (`concurrency`). An instance that has been given its last call,
 * or must not be given another, *drains*: the calls that it serves end, and none is added.
 *
 * The count begins when a call is promised an instance, not when the instance hears of it: the call may still wait for the
 * disk, and neither its stream nor the instance may be taken from it meanwhile.
 */
export class SharedInstances {
  readonly #loads = new Map<PoolInstance, Load>();
  #streams = 0;
  #draining = 0;

  /** The calls that are served now. */
  get streams(): number {
    return this.#streams;
  }

  /** The number of instances that serve calls and take no more. */
  get draining(): number {
    return this.#draining;
  }

  /** Adds an instance that is ready for its first call. */
  add(instance: PoolInstance, { max_calls }: Sharing): void {
    this.#loads.set(instance, { streams: 0, most: instance.free, left: max_calls === 0 ? Infinity : max_calls });
  }

  has(instance: PoolInstance): boolean {
    return this.#loads.has(instance);
  }

  /** Returns the number of calls that an instance serves. */
  streamsOf(instance: PoolInstance): number {
    return this.#loads.get(instance)?.streams ?? 0;
  }

  /** Gives an instance a call. */
  begin(instance: PoolInstance): void {
    const load = this.#loads.get(instance);
    if (load === undefined) return;
    load.streams++;
    this.#streams++;
    if (--load.left === 0) this.#draining++;
  }

  /** Notes the end of a call, and returns the number of calls that its instance still serves. */
  end(instance: PoolInstance): number {
    const load = this.#loads.get(instance);
    if (load === undefined || load.streams === 0) return 0;
    this.#streams--;
    if (--load.streams === 0 && load.left === 0) this.#draining--;
    return load.streams;
  }

  /** Gives back a call that an instance was promised and never got. */
  refund(instance: PoolInstance): void {
    const load = this.#loads.get(instance);
    if (load !== undefined && load.left++ === 0 && load.streams > 0) this.#draining--;
  }

  /** Gives an instance no further call. */
  drain(instance: PoolInstance): void {
    const load = this.#loads.get(instance);
    if (load === undefined || load.left === 0) return;
    load.left = 0;
    if (load.streams > 0) this.#draining++;
  }

  drainAll(): void {
    for (const instance of this.#loads.keys()) this.drain(instance);
  }

  /** Returns whether an instance can be given another call. */
  hasRoom(instance: PoolInstance): boolean {
    const load = this.#loads.get(instance);
    return load !== undefined && load.left > 0 && load.streams < load.most;
  }

  /** Returns the instance with the fewest calls that serves some and can be given another, or nothing. */
  leastLoaded(): PoolInstance | undefined {
    let least: PoolInstance | undefined;
    let fewest = Infinity;
    for (const [instance, { streams, most, left }] of this.#loads) {
      if (left === 0 || streams === 0 || streams >= most || streams >= fewest) continue;
      if (streams === 1) return instance;
      least = instance;
      fewest = streams;
    }
    return least;
  }

  /** Forgets an instance that is gone, with its calls. */
  delete(instance: PoolInstance): void {
    const load = this.#loads.get(instance);
    if (load === undefined) return;
    this.#streams -= load.streams;
    if (load.streams > 0 && load.left === 0) this.#draining--;
    this.#loads.delete(instance);
  }
}
