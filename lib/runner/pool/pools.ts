import type { Clock } from "../../clock.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import type { Function, VersionPool } from "../../domain/functions/functions.ts";
import type { Logger } from "../../log.ts";
import type { OnBoot } from "../instance/boot-plan.ts";
import type { PoolInstance } from "../instance/pool-instance.ts";
import type { Capacity, Room } from "./capacity.ts";
import { chooseEvictions } from "./eviction.ts";
import { type Boot, Pool } from "./pool.ts";
import { PoolsByVersion } from "./pools-by-version.ts";
import { statesOf } from "./figures.ts";
import { neverFits, notReady, stopped } from "./refusals.ts";
import { RefillPause } from "./refill-pause.ts";
import { needsNoNewContainer } from "./compatibility.ts";
import { StartOrder } from "./start-order.ts";

/** An instance for a call. */
export interface Acquired {
  readonly instance: PoolInstance;
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
  /**
   * Starts an instance, and calls `onBoot` when the platform has done its part and the function boots. Until then nothing
   * aborts a start, except the end of the server.
   */
  readonly launch: (pool: Pool, onBoot: OnBoot) => Promise<PoolInstance>;
  /** Called for a pool that has no instance left and will not get one. */
  readonly onEmpty: (pool: Pool) => void;
  readonly capacity: Capacity;
  readonly clock: Clock;
  readonly log: Logger;
  /** Returns why no instance can be launched now, or nothing. */
  readonly problem: () => AppError | undefined;
  /** Starts that the platform may have to do at once. */
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
  readonly #members = new Map<PoolInstance, Membership>();
  readonly #startOrder: StartOrder;
  readonly #pause: RefillPause;
  #starting = 0;
  #cancelTick: () => void = () => undefined;
  #closed = false;
  #pumping = false;

  constructor(deps: PoolsDeps) {
    this.#deps = deps;
    const { clock, warm_max = Infinity } = deps;
    this.#pools = new PoolsByVersion((fn, heirOf) => new Pool(fn, clock, warm_max, heirOf));
    this.#startOrder = new StartOrder(clock, (pool, forCall) => this.#makeRoom(pool, forCall));
    this.#pause = new RefillPause(clock, () => this.#pump());
  }

  /** Begins to shrink idle pools and to retry failed ones. */
  start(): void {
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => {
      this.start();
      this.#tick();
    });
  }

  /** Gets an instance for a call: a ready one, else the next unless `readyOnly`. Throws the error that keeps one from being started. */
  async acquire(fn: Function, signal: AbortSignal, readyOnly = false): Promise<Acquired> {
    if (this.#closed) throw stopped();
    const pool = this.#pools.forCall(fn);
    pool.arrive();
    this.#pause.callBegins(fn);
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      pool.leave();
      this.#pause.callEnds();
      this.#startOrder.consider(pool);
      this.#pump();
    };
    try {
      const instance = this.#takeReady(pool);
      if (instance !== undefined) return { instance, start: "warm", leave };
      if (readyOnly) throw notReady();
      const next = await this.#waitFor(pool, signal);
      return { instance: next, start: this.#members.get(next)?.returned === true ? "warm" : "cold", leave };
    } catch (error) {
      leave();
      throw error;
    } finally {
      this.#startOrder.consider(pool);
      this.#pump();
    }
  }

  /** Takes back an instance that a call is over with; one that is `reusable` may have another in its place. */
  giveBack(instance: PoolInstance, reusable = true): void {
    const member = this.#members.get(instance);
    if (member) member.returned = true;
    const { overdue } = this.#startOrder;
    // Under endless load it would always have a call, and its room would never be free for another pool's.
    const wanted = overdue === undefined || overdue === member?.pool;
    if (reusable && wanted) this.#keep(instance);
    else this.#letGo(instance);
    this.#pump();
  }

  /** Notes that a call has not used the instance that it got. It is for the next one. */
  refund(instance: PoolInstance): void {
    this.#members.get(instance)?.pool.refund(instance);
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
    if (fresh) this.#retireUnused(pool);
    this.#trim(pool);
    this.#startOrder.consider(pool);
    this.#endOutdated(fn.id);
  }

  /** Takes the versions that the routes of a function name now: one instance of each new one is made ready. */
  name(fn: Function, named: readonly Function[]): void {
    for (const version of this.#pools.keep(fn, named)) this.#startOrder.consider(this.#pools.forCall(version));
    this.#endOutdated(fn.id);
  }

  /** Makes a version of a function ready before anyone calls it. */
  warm(fn: Function): void {
    this.#startOrder.consider(this.#pools.forCall(fn));
    this.#pump();
  }

  /**
   * Replaces the instances of pools. Those that serve calls end with them; calls that come now wait for new ones.
   */
  renew(which: (pool: Pool) => boolean): void {
    for (const pool of this.#pools) {
      if (!which(pool)) continue;
      pool.renew();
      this.#retireUnused(pool);
      this.#startOrder.consider(pool);
    }
    this.#pump();
  }

  /**
   * Waits until an instance could serve a call of this function as it is now; it stays for the first one. Throws the error
   * that keeps one from being started.
   */
  async tryOut(fn: Function, signal: AbortSignal): Promise<void> {
    if (this.#closed) throw stopped();
    const pool = this.#pools.forCall(fn);
    try {
      const ready = this.#takeReady(pool);
      if (ready === undefined) await this.#waitFor(pool, signal, true);
      else this.refund(ready);
    } finally {
      this.#startOrder.consider(pool);
      this.#pump();
    }
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
      this.#startOrder.consider(pool);
    }
    this.#pump();
  }

  /** Returns the instances of a function by version, lowest first. */
  statesOf(functionId: string): readonly VersionPool[] {
    return statesOf(this.#pools.of(functionId));
  }

  /** The pools of all versions. */
  get all(): Iterable<Pool> {
    return this.#pools;
  }

  /** Returns whether a call of this function would find an instance at once. */
  isOpenTo(fn: Function): boolean {
    return this.#pools.known(fn)?.isOpen === true;
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
      this.#retireUnused(pool);
      this.#startOrder.consider(pool);
    }
    this.#pump();
  }

  /** Takes an instance that can serve a call now. One that has died or drains meanwhile costs nothing: it is skipped here. */
  #takeReady(pool: Pool): PoolInstance | undefined {
    for (;;) {
      const instance = pool.take();
      if (instance === undefined || takesCalls(instance, pool)) return instance;
      this.#letGo(instance);
    }
  }

  async #waitFor(pool: Pool, signal: AbortSignal, trial = false): Promise<PoolInstance> {
    const problem = this.#deps.problem();
    if (problem) throw problem;
    const { memory_bytes } = pool.function;
    if (!this.#deps.capacity.allows(memory_bytes)) throw neverFits(memory_bytes);
    signal.throwIfAborted();
    const waiting = pool.wait(signal, trial);
    this.#startOrder.consider(pool);
    this.#pump();
    const instance = await waiting;
    if (trial || !signal.aborted) return instance;
    // The caller went away just as it was served: the instance is for the next one.
    this.refund(instance);
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
    const turn = this.#startOrder.next(() => this.#pause.mayStart());
    if (turn === undefined) return false;
    void this.#startOne(turn.pool, turn.room);
    this.#startOrder.consider(turn.pool);
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
    const start: { boot?: Boot } = {};
    this.#starting++;
    pool.starting();
    // A boot costs the platform nothing, and may take a minute: the starts of others do not wait for it.
    const onBoot = (giveUp: () => void) => {
      if (start.boot !== undefined) return pool.bootBeginsAgain(start.boot, giveUp);
      pool.bootBegins((start.boot = { generation, giveUp, isGivenUp: false }));
      this.#starting--;
      pool.giveUpBoots();
      this.#pump();
    };
    try {
      const instance = await this.#deps.launch(pool, onBoot);
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
      if (start.boot?.isGivenUp) return pool.startGivenUp(generation);
      if (pool.waiting === 0)
        this.#deps.log.warn("instance not started", { function_id: pool.function.id, problem: messageOf(error) });
      pool.failed(generation, error);
      this.#giveUp();
    } finally {
      if (start.boot === undefined) this.#starting--;
      else pool.bootEnds(start.boot);
      this.#startOrder.consider(pool);
      this.#pump();
    }
  }

  /** Fails the calls that wait for a start while the engine cannot be used: nothing is started then. */
  #giveUp(): void {
    const problem = this.#deps.problem();
    if (problem) for (const pool of this.#pools) if (pool.callNeed > 0) pool.turnAway(problem);
  }

  /** Keeps an instance that is ready, or retires it if its generation has passed. */
  #keep(instance: PoolInstance): void {
    const member = this.#members.get(instance);
    if (member === undefined) return instance.retire();
    const { pool, generation } = member;
    if (this.#closed || !takesCalls(instance, pool) || generation !== pool.generation) return this.#letGo(instance);
    pool.offer(instance);
    this.#startOrder.served(pool);
    this.#trim(pool);
  }

  /** Gives an instance no further call: it is retired now, or when the calls that it serves besides are over. */
  #letGo(instance: PoolInstance): void {
    const pool = this.#members.get(instance)?.pool;
    if (pool === undefined || instance.state === "retired" || pool.release(instance) === 0)
      return this.#retire(instance);
    this.#startOrder.consider(pool);
  }

  #retireUnused(pool: Pool): void {
    for (const instance of pool.ready.slice()) this.#retire(instance);
    pool.giveUpBoots();
  }

  #trim(pool: Pool): void {
    for (const instance of pool.surplus) this.#retire(instance);
  }

  #retire(instance: PoolInstance): void {
    instance.retire();
    this.#release(instance);
  }

  #release(instance: PoolInstance): void {
    const member = this.#members.get(instance);
    if (member === undefined) return;
    this.#members.delete(instance);
    member.pool.drop(instance);
    member.room();
    this.#startOrder.consider(member.pool);
    this.#pump();
  }

  #tick(): void {
    this.#giveUp();
    for (const pool of this.#pools) {
      this.#trim(pool);
      pool.giveUpBoots();
      this.#startOrder.consider(pool);
      if (!pool.isEmpty || pool.target > 0) continue;
      this.#pools.delete(pool);
      this.#deps.onEmpty(pool);
    }
    this.#pump();
  }
}

/** Returns whether an instance can serve a call now: one that serves some is busy, and may take more in a pool that lets it. */
function takesCalls({ state }: PoolInstance, { function: { concurrency } }: Pool): boolean {
  return state === "ready" || (state === "busy" && concurrency > 1);
}
