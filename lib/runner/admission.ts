import { AppError } from "../domain/errors.ts";
import type { Function } from "../domain/functions.ts";

/** A place among the running calls; give it back exactly once. */
export type Place = () => void;

type Waiter = (place: Place) => void;

/** One function's calls. */
interface Line {
  running: number;
  /** Insertion order is the order of arrival; a Set, so that a caller that goes away leaves in constant time. */
  readonly waiting: Set<Waiter>;
  readonly pace: Pace;
}

/** How many calls may run and wait. */
export interface AdmissionLimits {
  readonly max_running: number;
  /** Calls that may wait because the server is full. */
  readonly queue: number;
  /** Calls that may wait because their function is. */
  readonly function_queue: number;
}

/**
 * How many calls run at once, of all functions and of each (`max_concurrency`), and how many may wait. Within a function
 * it is first come, first served; between functions that wait, places go round in turns, so that no crowd before one
 * function keeps another's callers out. A call that finds its queue full is turned away at once: `overloaded` where the
 * server is the bottleneck, `too_many_requests` where the function is.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #monotonic: () => number;
  readonly #lines = new Map<string, Line>();
  /** Lines with calls that wait; the one whose turn it is comes first. */
  readonly #turns = new Map<string, { readonly line: Line; readonly max: number }>();
  readonly #pace: Pace;
  #running = 0;
  #waiting = 0;

  constructor(limits: AdmissionLimits, monotonic: () => number) {
    this.#limits = limits;
    this.#monotonic = monotonic;
    this.#pace = new Pace();
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Waits for a place. Throws `overloaded` or `too_many_requests` when the queue is full, and the signal's reason when it aborts. */
  async enter(fn: Pick<Function, "id" | "max_concurrency">, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    const line = this.#lineOf(fn.id);
    const max = fn.max_concurrency === 0 ? Infinity : fn.max_concurrency;
    // Nobody overtakes those who wait for the same function.
    if (line.waiting.size === 0 && line.running < max && this.#running < this.#limits.max_running)
      return this.#place(fn.id, line);
    this.#checkQueues(fn, line, max);
    return this.#wait(fn.id, line, max, signal);
  }

  #checkQueues(fn: Pick<Function, "max_concurrency">, line: Line, max: number): void {
    if (line.running >= max && line.waiting.size >= this.#limits.function_queue) {
      const retry_after_s = line.pace.secondsFor(line.waiting.size);
      const message = `The function runs ${fn.max_concurrency} calls at once and ${line.waiting.size} wait already: try again in ${retry_after_s} s, or raise its "max_concurrency"`;
      throw new AppError("too_many_requests", message, { retry_after_s });
    }
    if (this.#waiting < this.#limits.queue) return;
    const retry_after_s = this.#pace.secondsFor(this.#waiting);
    const message = `The server runs ${this.#running} calls at once and ${this.#waiting} wait already: try again in ${retry_after_s} s, or raise MAX_INSTANCES or QUEUE_LIMIT`;
    throw new AppError("overloaded", message, { retry_after_s });
  }

  #wait(id: string, line: Line, max: number, signal: AbortSignal): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    const leave = () => {
      if (!line.waiting.delete(resolve)) return;
      this.#waiting--;
      if (line.waiting.size === 0) this.#turns.delete(id);
      this.#forget(id, line);
      reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    line.waiting.add(resolve);
    this.#waiting++;
    this.#turns.set(id, { line, max });
    return promise.finally(() => signal.removeEventListener("abort", leave));
  }

  #place(id: string, line: Line): Place {
    this.#running++;
    line.running++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#running--;
      line.running--;
      const now = this.#monotonic();
      this.#pace.freed(now);
      line.pace.freed(now);
      this.#admitNext();
      this.#forget(id, line);
    };
  }

  /** Gives the free place to the first in turn whose function may run one more; that function then goes to the end. */
  #admitNext(): void {
    if (this.#running >= this.#limits.max_running) return;
    for (const [id, turn] of this.#turns) {
      const { line, max } = turn;
      const waiter = line.waiting.values().next().value;
      if (waiter === undefined || line.running >= max) continue;
      line.waiting.delete(waiter);
      this.#waiting--;
      this.#turns.delete(id);
      if (line.waiting.size > 0) this.#turns.set(id, turn);
      waiter(this.#place(id, line));
      return;
    }
  }

  #lineOf(id: string): Line {
    const known = this.#lines.get(id);
    if (known !== undefined) return known;
    const line: Line = { running: 0, waiting: new Set(), pace: new Pace() };
    this.#lines.set(id, line);
    return line;
  }

  #forget(id: string, line: Line): void {
    if (line.running === 0 && line.waiting.size === 0) this.#lines.delete(id);
  }
}

/** How fast places become free: an exponential mean over about the last eight, which `Retry-After` is computed from. */
class Pace {
  #seconds = 1;
  #last: number | undefined;

  freed(now: number): void {
    // A longer pause says nothing about the load.
    if (this.#last !== undefined) this.#seconds += (Math.min((now - this.#last) / 1000, 10) - this.#seconds) / 8;
    this.#last = now;
  }

  /** When so many have had their turn, in whole seconds from 1 to 60. */
  secondsFor(waiting: number): number {
    return Math.min(60, Math.max(1, Math.ceil(waiting * this.#seconds)));
  }
}
