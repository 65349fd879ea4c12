/**
 * Whose turn it is among the functions that have something to do. Every other turn goes to the highest priority, and the
 * ones between to whoever has waited longest for one: so priorities count, and no function can keep another waiting for
 * ever by giving all of its work a high one.
 */
export class FunctionRotation {
  /** In the order of their last turns; the value is the highest priority of what they have to do. */
  readonly #functions = new Map<string, number>();
  #byPriority = true;

  get size(): number {
    return this.#functions.size;
  }

  /** A function has something to do, of this priority. */
  add(functionId: string, priority: number): void {
    const known = this.#functions.get(functionId);
    if (known === undefined || known < priority) this.#functions.set(functionId, priority);
  }

  /** A function had its turn; `next` is the priority of what else it has to do, if it has anything. */
  took(functionId: string, next: number | undefined): void {
    this.#functions.delete(functionId);
    if (next !== undefined) this.#functions.set(functionId, next);
    this.#byPriority = !this.#byPriority;
  }

  /** Whose turn it is, of those that `may` have one now. */
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
