import { AppError } from "../domain/errors.ts";
import type { Function } from "../domain/functions/functions.ts";

/** A place among the running calls; give it back exactly once. */
export type Place = () => void;

type LetIn = (place: Place) => void;

/** One function's calls. */
interface Line {
  readonly id: string;
  /** How many may run at once, by the latest call. */
  max: number;
  running: number;
  /** Insertion order is the order of arrival; a Set, so that a caller that goes away leaves in constant time. */
  readonly waiting: Set<LetIn>;
  readonly pace: Pace;
}

/** How many calls may run and wait. */
export interface AdmissionLimits {
  readonly max_running: number;
  /** Calls that may wait, all in all. */
  readonly queue: number;
  /** Calls that may wait because their function is full. */
  readonly function_queue: number;
}

/** Calls that will enter in a moment: of all functions, and of one. */
export interface Coming {
  readonly all: number;
  readonly own: number;
}

/** A crowd before one function may be this many times what it leaves of the queue to others: 9 leaves them a tenth. */
const CROWD = 9;

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
  /** Lines with a call that could run if there was a place; the one whose turn it is comes first. */
  readonly #turns = new Set<Line>();
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
    const line = this.#lineOf(fn);
    // A limit that was raised lets those in who wait already.
    this.#admit(line);
    if (line.waiting.size === 0 && line.running < line.max && this.#running < this.#limits.max_running)
      return this.#place(line);
    this.#checkQueues(line);
    return this.#wait(line, signal);
  }

  /**
   * Whether a call that nobody waits for could run now: a quarter of all places, and of its function's own, is left to
   * calls that somebody does wait for, as far as there is more than one. `coming` are such calls that are on their way
   * here.
   */
  hasRoomBehind({ id, max_concurrency }: Pick<Function, "id" | "max_concurrency">, coming: Coming): boolean {
    const line = this.#lines.get(id);
    const max = max_concurrency === 0 ? Infinity : max_concurrency;
    return (
      this.#waiting === 0 &&
      this.#running + coming.all < withRoomLeft(this.#limits.max_running) &&
      (line?.running ?? 0) + coming.own < withRoomLeft(max)
    );
  }

  #checkQueues(line: Line): void {
    const { waiting, running, max, pace } = line;
    if (running >= max && waiting.size >= this.#limits.function_queue) {
      const retry_after_s = pace.secondsFor(waiting.size);
      const message = `The function runs ${running} calls at once and ${waiting.size} wait already: try again in ${retry_after_s} s, or raise its "max_concurrency"`;
      throw new AppError("too_many_requests", message, { retry_after_s });
    }
    const left = this.#limits.queue - this.#waiting;
    if (left > 0 && waiting.size < CROWD * left) return;
    const retry_after_s = this.#pace.secondsFor(this.#waiting);
    this.#forget(line);
    const message = `The server runs ${this.#running} calls at once and ${this.#waiting} wait already: try again in ${retry_after_s} s, or raise MAX_INSTANCES or QUEUE_LIMIT`;
    throw new AppError("overloaded", message, { retry_after_s });
  }

  #wait(line: Line, signal: AbortSignal): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    const leave = () => {
      if (!line.waiting.delete(resolve)) return;
      this.#waiting--;
      this.#queueUp(line);
      this.#forget(line);
      reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    line.waiting.add(resolve);
    this.#waiting++;
    this.#queueUp(line);
    return promise.finally(() => signal.removeEventListener("abort", leave));
  }

  #place(line: Line): Place {
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
      this.#admit(line);
      this.#forget(line);
    };
  }

  /** Gives the free places to those whose turn it is, after a change of this line; who had one goes to the end. */
  #admit(changed: Line): void {
    this.#queueUp(changed);
    while (this.#running < this.#limits.max_running) {
      const line = this.#turns.values().next().value;
      const letIn = line?.waiting.values().next().value;
      if (line === undefined || letIn === undefined) return;
      line.waiting.delete(letIn);
      this.#waiting--;
      this.#turns.delete(line);
      const place = this.#place(line);
      this.#queueUp(line);
      letIn(place);
    }
  }

  /** Lets a line take its turn as long as it can make use of it; it keeps its place among the others. */
  #queueUp(line: Line): void {
    if (line.waiting.size > 0 && line.running < line.max) this.#turns.add(line);
    else this.#turns.delete(line);
  }

  #lineOf({ id, max_concurrency }: Pick<Function, "id" | "max_concurrency">): Line {
    const max = max_concurrency === 0 ? Infinity : max_concurrency;
    const known = this.#lines.get(id);
    if (known !== undefined) return Object.assign(known, { max });
    const line: Line = { id, max, running: 0, waiting: new Set(), pace: new Pace() };
    this.#lines.set(id, line);
    return line;
  }

  #forget(line: Line): void {
    if (line.running === 0 && line.waiting.size === 0) this.#lines.delete(line.id);
  }
}

function withRoomLeft(places: number): number {
  return places === Infinity ? places : Math.max(1, places - Math.ceil(places / 4));
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
