import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Function, PoolState } from "../../domain/functions/functions.ts";
import type { Isolation } from "../../domain/functions/isolation.ts";
import type { Logger } from "../../log.ts";
import type { Instance } from "../instance/instance.ts";
import type { Capacity, Room } from "./capacity.ts";
import { chooseEvictions } from "./eviction.ts";
import { Pool } from "./pool.ts";
import { PoolsByVersion } from "./pools-by-version.ts";
import { RefillPause } from "./refill-pause.ts";
import { needsNoNewContainer } from "./compatibility.ts";
import { StartOrder } from "./start-order.ts";

/** An instance for a call. */
export interface Acquired {
  readonly instance: Instance;
  readonly start: "cold" | "warm";
  /** Must be called when the call has its answer and its record. */
  readonly leave: () => void;
}

/** The interval at which idle pools shrink and failed ones try again, in milliseconds. */
const TICK_MS = 1_000;

/** The pool of an instance, and its room. */
interface Membership {
  readonly pool: Pool;
  readonly generation: number;
  readonly room: Room;
  /** True if it has served a call. */
  returned: boolean;
}

interface PoolsDeps {
  /** Starts an instance. Nothing aborts a start once it has begun, except the end of the server. */
  readonly launch: (pool: Pool) => Promise<Instance>;
  /** Called for a pool that has no instance left and will not get one. */
  readonly onEmpty: (pool: Pool) => void;
  readonly capacity: Capacity;
  readonly clock: Clock;
  readonly log: Logger;
  /** Returns why no instance can be launched now, or nothing. */
  readonly problem: () => AppError | undefined;
  readonly starts_at_once: number;
  /** The most instances of one function that are kept ready, whatever its own setting; no bound unless given. */
  readonly warm_max?: number;
}

/**
 * All pools, and the one decision that needs to see them all: which instance is started next. Calls that wait go before
 * refills, functions take turns (`StartOrder`), only so many starts run at once, and if there is no room, ready instances
 * of the pool that was called longest ago are evicted.
 */
export class Pools implements Disposable {
  readonly #deps: PoolsDeps;
  readonly #pools: PoolsByVersion;
  readonly #members = new Map<Instance, Membership>();
  readonly #turns: StartOrder;
  readonly #pause: RefillPause;
  #starting = 0;
  #cancelTick: () => void = () => undefined;
  #closed = false;
  #pumping = false;

  constructor(deps: PoolsDeps) {
    this.#deps = deps;
    const { clock, warm_max = Infinity } = deps;
    this.#pools = new PoolsByVersion((fn, heirOf) => new Pool(fn, clock, warm_max, heirOf));
    this.#turns = new StartOrder(clock, (pool, forCall) => this.#makeRoom(pool, forCall));
    this.#pause = new RefillPause(clock, () => this.#pump());
  }

  /** Begins to shrink idle pools and to retry failed ones. */
  start(): void {
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => {
      this.start();
      this.#tick();
    });
  }

  /** Gets an instance for a call: a ready one at once, else the next. Throws the error that keeps one from being started. */
  async acquire(fn: Function, signal: AbortSignal): Promise<Acquired> {
    if (this.#closed) throw stopped();
    const pool = this.#pools.forCall(fn);
    pool.arrive();
    this.#pause.callBegins();
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      pool.leave();
      this.#pause.callEnds();
      this.#turns.consider(pool);
      this.#pump();
    };
    try {
      const instance = this.#takeReady(pool);
      if (instance !== undefined) return { instance, start: "warm", leave };
      const next = await this.#waitFor(pool, signal);
      return { instance: next, start: this.#members.get(next)?.returned === true ? "warm" : "cold", leave };
    } catch (error) {
      leave();
      throw error;
    } finally {
      this.#turns.consider(pool);
      this.#pump();
    }
  }

  /** Takes back an instance that is ready for another call. */
  giveBack(instance: Instance): void {
    const member = this.#members.get(instance);
    if (member) member.returned = true;
    const { overdue } = this.#turns;
    // Under endless load it would always have a call, and its room would never be free for another pool's.
    if (member && overdue && overdue !== member.pool) return this.#retire(instance);
    this.#keep(instance);
    this.#pump();
  }

  /**
   * Makes one instance ready of a function that was registered or changed. Instances that differ are retired, unless a
   * route names their version (`named`).
   */
  update(fn: Function, named: readonly Function[] = []): void {
    if (this.#pools.isRemoved(fn.id)) return;
    this.#pools.keep(fn, named);
    const pool = this.#pools.forChange(fn);
    const fresh = !needsNoNewContainer(fn, pool.function);
    pool.change(fn, fresh);
    if (fresh) this.#retireReady(pool);
    this.#trim(pool);
    this.#turns.consider(pool);
    this.#endOutdated(fn.id);
  }

  /** Takes the versions that the routes of a function name now: one instance of each new one is made ready. */
  name(fn: Function, named: readonly Function[]): void {
    for (const version of this.#pools.keep(fn, named)) this.#turns.consider(this.#pools.forCall(version));
    this.#endOutdated(fn.id);
  }

  /** Makes a version of a function ready before anyone calls it. */
  warm(fn: Function): void {
    this.#turns.consider(this.#pools.forCall(fn));
    this.#pump();
  }

  /** Replaces the instances of a pool, which have lost something that they share. */
  renew(key: string): void {
    for (const pool of this.#pools) {
      if (pool.key !== key) continue;
      pool.renew();
      this.#retireReady(pool);
      this.#turns.consider(pool);
    }
    this.#pump();
  }

  /** Removes a deleted function: calls that have begun are served, nothing is kept, and empty pools end. */
  remove(functionId: string): void {
    this.#pools.remove(functionId);
    this.#endOutdated(functionId);
  }

  /** Fills pools again when the engine is back. */
  resume(): void {
    for (const pool of this.#pools) {
      pool.forgive();
      this.#turns.consider(pool);
    }
    this.#pump();
  }

  /** Returns the instances of a function by version, lowest first. */
  statesOf(functionId: string): (PoolState & { readonly version: number })[] {
    const states: (PoolState & { readonly version: number })[] = [];
    for (const { function: fn, state } of this.#pools.of(functionId)) states.push({ version: fn.version, ...state });
    return states.length < 2 ? states : states.toSorted((a, b) => a.version - b.version);
  }

  /** The sums over all pools. */
  get totals(): Omit<PoolState, "target" | "problem"> {
    const sum = { ready: 0, starting: 0, busy: 0 };
    for (const { state } of this.#pools) {
      sum.ready += state.ready;
      sum.starting += state.starting;
      sum.busy += state.busy;
    }
    return sum;
  }

  /** The instances of all pools, by what a call gets fresh in them. */
  get byIsolation(): Readonly<Record<Isolation, number>> {
    const sum = { container: 0, cell: 0, process: 0 };
    for (const { function: fn, state } of this.#pools) sum[fn.isolation] += state.ready + state.starting + state.busy;
    return sum;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#cancelTick();
    this.#pause[Symbol.dispose]();
    for (const pool of this.#pools) pool.turnAway(stopped());
    for (const instance of this.#members.keys()) this.#retire(instance);
  }

  /** Ends the pools of versions that are not kept: calls that have begun are served, and no more. */
  #endOutdated(functionId: string): void {
    for (const pool of this.#pools.outdated(functionId)) {
      pool.end();
      this.#retireReady(pool);
      this.#turns.consider(pool);
    }
    this.#pump();
  }

  /** Takes a ready instance. One that died while it waited costs nothing: it was dropped, or is skipped here. */
  #takeReady(pool: Pool): Instance | undefined {
    for (;;) {
      const instance = pool.take();
      if (instance === undefined || instance.state === "ready") return instance;
      this.#retire(instance);
    }
  }

  async #waitFor(pool: Pool, signal: AbortSignal): Promise<Instance> {
    const problem = this.#deps.problem();
    if (problem) throw problem;
    const { memory_bytes } = pool.function;
    if (!this.#deps.capacity.allows(memory_bytes)) {
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
    this.#turns.consider(pool);
    this.#pump();
    const instance = await waiting;
    if (!signal.aborted) return instance;
    // The caller went away just as it was served: the instance is for the next one.
    this.#keep(instance);
    throw signal.reason;
  }

  /** Starts all that should start now. Making room retires instances, which calls this again: once is enough. */
  #pump(): void {
    if (this.#pumping || this.#closed || this.#deps.problem()) return;
    this.#pumping = true;
    try {
      while (this.#starting < this.#deps.starts_at_once && this.#startNext());
    } finally {
      this.#pumping = false;
    }
  }

  #startNext(): boolean {
    const turn = this.#turns.next(() => this.#pause.mayStart());
    if (turn === undefined) return false;
    void this.#startOne(turn.pool, turn.room);
    this.#turns.consider(turn.pool);
    return true;
  }

  /** Takes room for one more instance of a pool, evicting ready ones of other pools if necessary. */
  #makeRoom(pool: Pool, forCall: boolean): Room | undefined {
    const victims = chooseEvictions(pool, this.#pools, this.#deps.capacity, forCall);
    if (victims === undefined) return undefined;
    for (const instance of victims) this.#retire(instance);
    return this.#deps.capacity.take(pool.function.memory_bytes);
  }

  async #startOne(pool: Pool, room: Room): Promise<void> {
    const { generation } = pool;
    const began = this.#deps.clock.monotonic();
    this.#starting++;
    pool.starting();
    try {
      const instance = await this.#deps.launch(pool);
      this.#members.set(instance, { pool, generation, room, returned: false });
      void instance.retired.then(() => this.#release(instance));
      if (instance.state !== "ready") {
        this.#retire(instance);
        throw new AppError("instance_lost", "The function's container ended as soon as it was ready: try again");
      }
      pool.started(generation, this.#deps.clock.monotonic() - began);
      this.#keep(instance);
    } catch (error) {
      room();
      if (pool.waiting === 0)
        this.#deps.log.warn("instance not started", { function_id: pool.function.id, problem: messageOf(error) });
      pool.failed(generation, error);
      this.#giveUp();
    } finally {
      this.#starting--;
      this.#turns.consider(pool);
      this.#pump();
    }
  }

  /** Fails the calls that wait for a start while the engine cannot be used: nothing is started then. */
  #giveUp(): void {
    const problem = this.#deps.problem();
    if (problem) for (const pool of this.#pools) if (pool.callNeed > 0) pool.turnAway(problem);
  }

  /** Keeps an instance that is ready, or retires it if its generation has passed. */
  #keep(instance: Instance): void {
    const member = this.#members.get(instance);
    if (member === undefined) return instance.retire();
    const { pool, generation } = member;
    if (this.#closed || instance.state !== "ready" || generation !== pool.generation) return this.#retire(instance);
    pool.offer(instance);
    this.#turns.served(pool);
    this.#trim(pool);
  }

  #retireReady(pool: Pool): void {
    for (const instance of pool.ready.slice()) this.#retire(instance);
  }

  #trim(pool: Pool): void {
    for (const instance of pool.surplus) this.#retire(instance);
  }

  #retire(instance: Instance): void {
    instance.retire();
    this.#release(instance);
  }

  #release(instance: Instance): void {
    const member = this.#members.get(instance);
    if (member === undefined) return;
    this.#members.delete(instance);
    member.pool.drop(instance);
    member.room();
    this.#turns.consider(member.pool);
    this.#pump();
  }

  #tick(): void {
    this.#giveUp();
    for (const pool of this.#pools) {
      this.#trim(pool);
      this.#turns.consider(pool);
      if (!pool.isEmpty || pool.target > 0) continue;
      this.#pools.delete(pool);
      this.#deps.onEmpty(pool);
    }
    this.#pump();
  }
}

function stopped(): AppError {
  return new AppError("shutting_down", "The server is stopping: try again in a moment", { retry_after_s: 5 });
}
