import type { Clock } from "../clock.ts";
import { AppError, messageOf } from "../domain/errors.ts";
import type { Function, PoolState } from "../domain/functions.ts";
import type { Logger } from "../log.ts";
import type { Capacity, Room } from "./capacity.ts";
import { type Member, Pool } from "./pool.ts";

/** A start of an instance, wherever it comes from; aborted by nobody once it has begun. */
export type Launch<M extends Member> = (pool: Pool<M>) => Promise<M>;

/** An instance for a call. */
export interface Acquired<M> {
  readonly instance: M;
  readonly start: "cold" | "warm";
  /** To be called when the call has its answer and its record. */
  readonly leave: () => void;
}

/** Pools look at the time this often, in milliseconds: idle ones shrink, failed ones try again. */
const TICK_MS = 1_000;
/**
 * A refill costs the engine some 400 ms of CPU time, which a call that runs beside it feels. So it waits until no call
 * runs, but not for longer than this, in milliseconds: most calls are over by then.
 */
const REFILL_PAUSE_MS = 20;

/** Fields of a function that its containers are made from; the others can change under a running instance. */
const SHAPE = [
  "image_id",
  "environment",
  "memory_bytes",
  "cpus",
  "pids",
  "max_calls",
  "read_only",
  "share_network",
] as const;

/** Where an instance belongs. */
interface Place<M extends Member> {
  readonly pool: Pool<M>;
  readonly generation: number;
  readonly room: Room;
}

/**
 * All pools, and the one decision that needs to see them all: which instance the engine starts next. Calls that wait go
 * before refills, functions take turns, only so many starts run at once, and when there is no room, ready instances of
 * the pool that was called longest ago give way.
 */
export class Pools<M extends Member> implements Disposable {
  readonly #launch: Launch<M>;
  readonly #onEmpty: (functionId: string) => void;
  readonly #capacity: Capacity;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #problem: () => AppError | undefined;
  readonly #startsAtOnce: number;
  readonly #pools = new Map<string, Pool<M>>();
  readonly #places = new Map<M, Place<M>>();
  /** Pools that need a start, in the order of their turns. */
  readonly #needy = new Set<Pool<M>>();
  #starting = 0;
  #calls = 0;
  #refillsFrom = -Infinity;
  #cancelTick: () => void = () => undefined;
  #cancelRefill: (() => void) | undefined;
  #closed = false;
  #pumping = false;

  constructor(options: {
    launch: Launch<M>;
    /** Told when a function has no instance any more and is not to have one. */
    onEmpty: (functionId: string) => void;
    capacity: Capacity;
    clock: Clock;
    log: Logger;
    /** Why the engine cannot be used now, or nothing. */
    problem: () => AppError | undefined;
    starts_at_once: number;
  }) {
    this.#launch = options.launch;
    this.#onEmpty = options.onEmpty;
    this.#capacity = options.capacity;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#problem = options.problem;
    this.#startsAtOnce = options.starts_at_once;
  }

  /** Begins to look at the time. */
  start(): void {
    this.#cancelTick = this.#clock.after(TICK_MS, () => {
      this.start();
      this.#tick();
    });
  }

  /** An instance for a call: a ready one at once, else the next. Throws what keeps one from being started. */
  async acquire(fn: Function, signal: AbortSignal): Promise<Acquired<M>> {
    const pool = this.#poolOf(fn);
    pool.arrive();
    this.#calls++;
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      pool.leave();
      this.#calls--;
      if (this.#calls === 0) this.#refillsFrom = -Infinity;
      this.#consider(pool);
      this.#pump();
    };
    try {
      const instance = this.#takeReady(pool);
      this.#refillsFrom = this.#clock.monotonic() + REFILL_PAUSE_MS;
      if (instance !== undefined) return { instance, start: "warm", leave };
      return { instance: await this.#waitFor(pool, signal), start: "cold", leave };
    } catch (error) {
      leave();
      throw error;
    } finally {
      this.#consider(pool);
      this.#pump();
    }
  }

  /** Takes an instance back that is ready for another call. */
  giveBack(instance: M): void {
    this.#keep(instance);
    this.#pump();
  }

  /** A function was registered or changed: one instance of it is made ready; those that differ are let go. */
  update(fn: Function): void {
    const pool = this.#pools.get(fn.id);
    if (pool === undefined) {
      this.#consider(this.#poolOf(fn));
    } else {
      const fresh = SHAPE.some((field) => JSON.stringify(fn[field]) !== JSON.stringify(pool.function[field]));
      pool.change(fn, fresh);
      if (fresh) this.#retireReady(pool);
      this.#trim(pool);
      this.#consider(pool);
    }
    this.#pump();
  }

  /** The instances of a function have lost something that they share: new ones take their place. */
  renew(functionId: string): void {
    const pool = this.#pools.get(functionId);
    if (pool === undefined) return;
    pool.change(pool.function, true);
    this.#retireReady(pool);
    this.#consider(pool);
    this.#pump();
  }

  /** A function was deleted: running calls end, what waits is let go. */
  remove(functionId: string): void {
    const pool = this.#pools.get(functionId);
    if (pool === undefined) return;
    this.#pools.delete(functionId);
    this.#needy.delete(pool);
    pool.change(pool.function, true);
    this.#retireReady(pool);
    this.#pump();
  }

  /** The engine is back: pools fill again. */
  resume(): void {
    for (const pool of this.#pools.values()) {
      pool.forgive();
      this.#consider(pool);
    }
    this.#pump();
  }

  stateOf(functionId: string): PoolState {
    return this.#pools.get(functionId)?.state ?? { ready: 0, starting: 0, busy: 0, target: 0 };
  }

  /** The sums over all pools. */
  get totals(): Omit<PoolState, "target"> {
    const sum = { ready: 0, starting: 0, busy: 0 };
    for (const { state } of this.#pools.values()) {
      sum.ready += state.ready;
      sum.starting += state.starting;
      sum.busy += state.busy;
    }
    return sum;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#cancelTick();
    this.#cancelRefill?.();
    for (const instance of [...this.#places.keys()]) this.#retire(instance);
  }

  #poolOf(fn: Function): Pool<M> {
    const known = this.#pools.get(fn.id);
    if (known !== undefined) return known;
    const pool = new Pool<M>(fn, this.#clock);
    this.#pools.set(fn.id, pool);
    return pool;
  }

  /** One that died while it waited costs nothing: it has been dropped, or is passed over here. */
  #takeReady(pool: Pool<M>): M | undefined {
    for (;;) {
      const instance = pool.take();
      if (instance === undefined || instance.state === "ready") return instance;
      this.#retire(instance);
    }
  }

  async #waitFor(pool: Pool<M>, signal: AbortSignal): Promise<M> {
    const problem = this.#problem();
    if (problem) throw problem;
    const { memory_bytes } = pool.function;
    if (!this.#capacity.allows(memory_bytes)) {
      throw new AppError(
        "overloaded",
        `An instance with ${memory_bytes} bytes of memory does not fit into this server's memory budget: lower "memory_bytes" or raise MEMORY_BUDGET`,
        {
          retry_after_s: 60,
        },
      );
    }
    signal.throwIfAborted();
    const waiting = pool.wait(signal);
    this.#consider(pool);
    this.#pump();
    return waiting;
  }

  /** Puts a pool among those that need a start, or takes it out. */
  #consider(pool: Pool<M>): void {
    const needs = this.#pools.get(pool.function.id) === pool || pool.waiting > 0;
    if (needs && (pool.callNeed > 0 || pool.refillNeed > 0)) this.#needy.add(pool);
    else this.#needy.delete(pool);
  }

  /** Starts what is to be started now. Making room retires instances, which asks for this again: once is enough. */
  #pump(): void {
    if (this.#pumping || this.#closed || this.#problem()) return;
    this.#pumping = true;
    try {
      while (this.#starting < this.#startsAtOnce && this.#startNext());
    } finally {
      this.#pumping = false;
    }
  }

  #startNext(): boolean {
    const pool = this.#next();
    const room = pool && this.#makeRoom(pool);
    if (pool === undefined || room === undefined) return false;
    // Its turn is over: the others come first now.
    this.#needy.delete(pool);
    void this.#startOne(pool, room);
    this.#consider(pool);
    return true;
  }

  #next(): Pool<M> | undefined {
    for (const pool of this.#needy) if (pool.callNeed > 0) return pool;
    if (!this.#mayRefill()) return undefined;
    for (const pool of this.#needy) {
      if (pool.refillNeed > 0) return pool;
      this.#needy.delete(pool);
    }
    return undefined;
  }

  #mayRefill(): boolean {
    const wait = this.#refillsFrom - this.#clock.monotonic();
    if (this.#calls === 0 || wait <= 0) return true;
    this.#cancelRefill ??= this.#clock.after(wait, () => {
      this.#cancelRefill = undefined;
      this.#pump();
    });
    return false;
  }

  /** Room for one more instance of a pool, where need be that of a ready one that is less wanted. */
  #makeRoom(pool: Pool<M>): Room | undefined {
    const { memory_bytes } = pool.function;
    for (;;) {
      const room = this.#capacity.take(memory_bytes);
      if (room !== undefined) return room;
      const victim = this.#leastWanted(pool);
      if (victim === undefined) return undefined;
      this.#retire(victim);
    }
  }

  /** A call may take the place of any ready instance, a refill only that of a pool which was called longer ago. */
  #leastWanted(pool: Pool<M>): M | undefined {
    let least: Pool<M> | undefined;
    for (const other of this.#pools.values()) {
      if (other === pool || other.ready.length === 0) continue;
      if (pool.callNeed === 0 && other.lastCall >= pool.lastCall) continue;
      if (least === undefined || other.lastCall < least.lastCall) least = other;
    }
    return least?.ready[0];
  }

  async #startOne(pool: Pool<M>, room: Room): Promise<void> {
    const { generation } = pool;
    const began = this.#clock.monotonic();
    this.#starting++;
    pool.starting();
    try {
      const instance = await this.#launch(pool);
      this.#places.set(instance, { pool, generation, room });
      void instance.retired.then(() => this.#release(instance));
      pool.started(this.#clock.monotonic() - began);
      this.#keep(instance);
    } catch (error) {
      room();
      if (pool.waiting === 0)
        this.#log.warn("instance not started", { function_id: pool.function.id, problem: messageOf(error) });
      pool.failed(error);
    } finally {
      this.#starting--;
      this.#consider(pool);
      this.#pump();
    }
  }

  /** Keeps an instance that is ready, unless it is too late for it. */
  #keep(instance: M): void {
    const place = this.#places.get(instance);
    if (place === undefined) return instance.retire();
    const { pool, generation } = place;
    if (this.#closed || instance.state !== "ready" || generation !== pool.generation) return this.#retire(instance);
    pool.offer(instance);
    this.#trim(pool);
  }

  #retireReady(pool: Pool<M>): void {
    for (const instance of [...pool.ready]) this.#retire(instance);
  }

  #trim(pool: Pool<M>): void {
    for (const instance of pool.surplus) this.#retire(instance);
  }

  #retire(instance: M): void {
    instance.retire();
    this.#release(instance);
  }

  #release(instance: M): void {
    const place = this.#places.get(instance);
    if (place === undefined) return;
    this.#places.delete(instance);
    place.pool.drop(instance);
    place.room();
    this.#consider(place.pool);
    this.#pump();
  }

  #tick(): void {
    for (const [id, pool] of this.#pools) {
      this.#trim(pool);
      this.#consider(pool);
      if (!pool.isEmpty || pool.target > 0) continue;
      this.#pools.delete(id);
      this.#onEmpty(id);
    }
    this.#pump();
  }
}
