import type { Turns } from "../../store/ledger.ts";
import type { ReadyWork } from "../../store/records.ts";

/** The ready work of a function, as far as it is known: its highest priority, and the most that it can be. */
interface Known {
  readonly priority: number;
  readonly pieces: number;
}

/**
 * Gives turns to the functions that have something to do. Every other turn goes to the highest priority, and the ones in
 * between to the function that has waited longest: so priorities count, and no function can keep another one waiting
 * forever by giving all of its work a high one.
 *
 * Several turns are given at once (`next`), of which it is told later how many were taken (`settle`).
 */
export class FunctionRotation {
  /** In the order of their last turns. */
  readonly #functions = new Map<string, Known>();
  /** Those that were added since the last turns were given. */
  readonly #added = new Map<string, Known>();
  #byPriority = true;

  get size(): number {
    return this.#functions.size;
  }

  /** Adds a function that has something to do, of this priority: so many pieces of work, or an unknown number. */
  add(functionId: string, priority: number, pieces = Infinity): void {
    for (const known of [this.#functions, this.#added]) {
      const before = known.get(functionId) ?? { priority, pieces: 0 };
      known.set(functionId, { priority: Math.max(priority, before.priority), pieces: before.pieces + pieces });
    }
  }

  /** Returns the next turns, at most so many, among the functions that have room; undefined if none has. */
  next(atOnce: number, room: (functionId: string) => number): Turns | undefined {
    this.#added.clear();
    const open: Open[] = [];
    let limit = 0;
    for (const [function_id, { priority, pieces }] of this.#functions) {
      const most = Math.min(atOnce, pieces, room(function_id));
      if (most <= 0) continue;
      open.push({ function_id, priority, most, position: open.length });
      limit = Math.max(limit, most);
    }
    if (limit === 0) return undefined;
    const urgent = this.#byPriority ? Math.ceil(limit / 2) : Math.floor(limit / 2);
    const offered = open.length <= limit ? open : offeredOf(open, limit, urgent);
    return { functions: offered.map(({ function_id, most }) => ({ function_id, most })), limit, urgent };
  }

  /**
   * Notes which functions have taken turns, one for each piece of work, and what is left of the work of all that were offered some.
   * If nothing was taken of what is left, others are about to take it.
   */
  settle({ functions }: Turns, taken: readonly string[], left: readonly ReadyWork[]): void {
    if (taken.length % 2 === 1) this.#byPriority = !this.#byPriority;
    const served = new Set(taken);
    const rest = new Map(left.map(({ function_id, priority }) => [function_id, priority]));
    for (const { function_id } of functions) {
      const added = this.#added.get(function_id);
      const priority = taken.length === 0 ? undefined : rest.get(function_id);
      const known =
        priority === undefined
          ? added
          : { priority: Math.max(priority, added?.priority ?? priority), pieces: Infinity };
      // Only one that had a turn loses its position.
      if (known === undefined || served.has(function_id)) this.#functions.delete(function_id);
      if (known !== undefined) this.#functions.set(function_id, known);
    }
  }
}

/** A function with room for its work, and its position among all of them: the first has waited longest. */
interface Open extends Pick<Known, "priority"> {
  readonly function_id: string;
  readonly most: number;
  readonly position: number;
}

/** Returns those of more functions than turns that can get one: with the highest priorities, or because they have waited longest. */
function offeredOf(open: readonly Open[], limit: number, urgent: number): readonly Open[] {
  const waited = urgent === limit ? 0 : limit;
  const highest: Open[] = [];
  /** What a priority must exceed to be among the highest. */
  let least = urgent === 0 ? Infinity : -Infinity;
  for (const one of open) {
    if (one.priority <= least) continue;
    highest.splice(highest.findLastIndex(({ priority }) => priority >= one.priority) + 1, 0, one);
    if (highest.length > urgent) highest.pop();
    if (highest.length === urgent) least = highest.at(-1)?.priority ?? least;
  }
  const others = highest.filter(({ position }) => position >= waited);
  return [...open.slice(0, waited), ...others.toSorted((one, other) => one.position - other.position)];
}
