import type { Clock } from "../../clock.ts";
import type { Room } from "./capacity.ts";
import type { Pool } from "./pool.ts";

/**
 * The time that others may overtake a call that finds no room, in milliseconds. By then most calls are over, and small
 * ones have left room by chance; and it is a small part of the half minute that a caller waits by default.
 */
const PATIENCE_MS = 5_000;

/** A start that found no room: one that needs as much or more, and whose pool was not called later, need not be tried. */
interface Denied {
  readonly memory_bytes: number;
  readonly lastCall: number;
}

/** A start that should begin now, with its room. */
interface Turn {
  readonly pool: Pool;
  readonly room: Room;
}

/**
 * Decides which pool gets the next start. Calls that wait go before refills, and functions take turns. A call whose instance
 * does not fit into the free room is overtaken by smaller ones, so that one function does not keep all others waiting. But
 * not forever: after 5 s all room that becomes free is kept for it, and refills wait until it has its instance.
 */
export class StartOrder {
  readonly #clock: Clock;
  readonly #makeRoom: (pool: Pool, forCall: boolean) => Room | undefined;
  /** Pools that need a start, in the order of their turns. */
  readonly #needy = new Set<Pool>();
  /** Pools whose waiting calls found no room, and the time since which none of their calls was served, oldest first. */
  readonly #deniedSince = new Map<Pool, number>();

  /** `makeRoom` takes room for one more instance of a pool if it can. */
  constructor(clock: Clock, makeRoom: (pool: Pool, forCall: boolean) => Room | undefined) {
    this.#clock = clock;
    this.#makeRoom = makeRoom;
  }

  /** Adds a pool to those that need a start, or removes it. */
  consider(pool: Pool): void {
    if (pool.callNeed === 0) this.#deniedSince.delete(pool);
    if (pool.callNeed > 0 || pool.refillNeed > 0) this.#needy.add(pool);
    else this.#needy.delete(pool);
  }

  /** Notes that a call of a pool has got an instance, wherever it came from. */
  served(pool: Pool): void {
    this.#deniedSince.delete(pool);
  }

  /** The pool whose call was overtaken for long enough: all room that becomes free is for it. */
  get overdue(): Pool | undefined {
    for (const [pool, since] of this.#deniedSince) {
      if (this.#clock.monotonic() - since < PATIENCE_MS) return undefined;
      if (pool.callNeed > 0) return pool;
    }
    return undefined;
  }

  /** Returns the next start that there is room for. Asks `mayRefill` if no call waits for one. */
  next(mayRefill: () => boolean): Turn | undefined {
    const { overdue } = this;
    if (overdue !== undefined) return this.#first([overdue], true);
    const calls = [...this.#needy].filter((pool) => pool.callNeed > 0);
    if (calls.length > 0) return this.#first(calls, true);
    const refills = [...this.#needy].filter((pool) => pool.refillNeed > 0);
    return refills.length > 0 && mayRefill() ? this.#first(refills, false) : undefined;
  }

  #first(pools: readonly Pool[], forCall: boolean): Turn | undefined {
    let denied: Denied = { memory_bytes: Infinity, lastCall: -Infinity };
    for (const pool of pools) {
      const claim = { memory_bytes: pool.function.memory_bytes, lastCall: forCall ? 0 : pool.lastCall };
      const hopeless = claim.memory_bytes >= denied.memory_bytes && claim.lastCall <= denied.lastCall;
      const room = hopeless ? undefined : this.#makeRoom(pool, forCall);
      if (room !== undefined) {
        // Its turn is over: the others come first now.
        this.#needy.delete(pool);
        this.#deniedSince.delete(pool);
        return { pool, room };
      }
      if (!hopeless) denied = claim;
      if (forCall && !this.#deniedSince.has(pool)) this.#deniedSince.set(pool, this.#clock.monotonic());
    }
    return undefined;
  }
}
