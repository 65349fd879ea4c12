/**
 * Gives turns to the functions that have something to do. Every other turn goes to the highest priority, and the ones in
 * between to the function that has waited longest: so priorities count, and no function can keep another one waiting
 * forever by giving all of its work a high one.
 */
export class FunctionRotation {
  /** In the order of their last turns; the value is the highest priority of their work. */
  readonly #functions = new Map<string, number>();
  #byPriority = true;

  get size(): number {
    return this.#functions.size;
  }

  /** Adds a function that has something to do, of this priority. */
  add(functionId: string, priority: number): void {
    const known = this.#functions.get(functionId);
    if (known === undefined || known < priority) this.#functions.set(functionId, priority);
  }

  /** Gives a function its turn, and removes it until it is added again. Returns the priority that it had. */
  take(functionId: string): number {
    const priority = this.#functions.get(functionId) ?? 0;
    this.#functions.delete(functionId);
    this.#byPriority = !this.#byPriority;
    return priority;
  }

  /** Returns the next function, among those that `may` have a turn now. */
  next(may: (functionId: string) => boolean): string | undefined {
    let best: string | undefined;
    let highest = -Infinity;
    for (const [functionId, priority] of this.#functions) {
      if (priority <= highest || !may(functionId)) continue;
      if (!this.#byPriority) return functionId;
      best = functionId;
      highest = priority;
    }
    return best;
  }
}
