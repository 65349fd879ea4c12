import type { Clock } from "../clock.ts";
import { onAbort } from "../domain/concurrency.ts";
import { AppError } from "../domain/errors.ts";
import type { Function } from "../domain/functions/functions.ts";

/** A place among the running calls. Calling it gives the place back; only the first call counts. */
export type Place = () => void;

type LetIn = (place: Place) => void;

/** One function's calls. */
interface Line {
  readonly id: string;
  /** The most that may run at once, as the latest call says. */
  max: number;
  /** The calls that share an instance, and so a place of the server's. */
  sharing: number;
  running: number;
  /** The places that its running calls take. */
  places: number;
  /** In order of arrival. A Set, so that a caller that gives up leaves in constant time. */
  readonly waiting: Set<LetIn>;
  readonly pace: Pace;
  /** The time since which it has waited for a place, if it does. */
  waitsSince: number;
  /** The time at which it last began to give its only place back to others. */
  yieldedAt: number;
}

/** The settings of a function that say how many of its calls run at once. */
type AdmittedFunction = Pick<Function, "id" | "max_concurrency" | "concurrency">;

/** The most calls that may run and wait. */
export interface AdmissionLimits {
  /** Calls that run at once; those that share an instance count as one. */
  readonly max_running: number;
  /** Calls that may wait, of all functions. */
  readonly queue: number;
  /** Calls that may wait because their function is full. */
  readonly function_queue: number;
}

/** Calls that are about to enter: of all functions, and of one. */
export interface Coming {
  readonly all: number;
  readonly own: number;
}

/** The calls that wait for one function may take this many times the room that they leave to others: 9 leaves a tenth. */
const CROWD = 9;
/** The time after which a function that waits for a place gets one of those that calls share, in milliseconds. */
const PATIENCE_MS = 5_000;
/** The most that a function takes no calls for that, and how often it does so, in milliseconds. */
const YIELD_MS = 5_000;
const YIELD_AGAIN_MS = 60_000;

/**
 * Limits how many calls run at once, of all functions and of each (`max_concurrency`), and how many may wait. Calls of one
 * function are served in order of arrival. Functions take turns, so that a crowd waiting for one does not keep out the
 * callers of another. A call that finds its queue full is refused at once: with `overloaded` if the server is the
 * bottleneck, with `too_many_requests` if the function is.
 *
 * Calls that can share an instance (`concurrency`) take one place together. A function that has several gives them back while
 * others wait; its last one it keeps while it has calls. If another function has waited for 5 s, one that keeps its last place takes no
 * more calls until it is free. But not for more than 5 s in a minute: one of its calls may be a stream of hours, during which a place
 * that takes no more calls would be of use to nobody.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #clock: Pick<Clock, "monotonic" | "after">;
  readonly #lines = new Map<string, Line>();
  /** Lines with a call that could run if there were a place, the next one first. */
  readonly #turns = new Set<Line>();
  readonly #pace: Pace;
  #running = 0;
  #waiting = 0;
  /** The line that takes no calls until its place is free, or until this time. */
  #yielding: { readonly line: Line; readonly until: number } | undefined;

  constructor(limits: AdmissionLimits, clock: Pick<Clock, "monotonic" | "after">) {
    this.#limits = limits;
    this.#clock = clock;
    this.#pace = new Pace();
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Waits for a place. Throws `overloaded` or `too_many_requests` if the queue is full, and the signal's reason if it aborts. */
  async enter(fn: AdmittedFunction, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    const line = this.#lineOf(fn);
    // If the limit was raised, calls that already wait go first.
    this.#admit(line);
    if (line.waiting.size === 0 && line.running < line.max && this.#fits(line)) return this.#place(line);
    this.#checkQueues(line);
    return this.#wait(line, signal);
  }

  /** Returns whether a call would enter at once. */
  isOpenTo({ id, max_concurrency }: AdmittedFunction): boolean {
    const line = this.#lines.get(id);
    if (line === undefined) return this.#running < this.#limits.max_running;
    const max = max_concurrency === 0 ? Infinity : max_concurrency;
    return line.waiting.size === 0 && line.running < max && this.#fits(line);
  }

  /**
   * Returns how many asynchronous calls of a function could run now. A quarter of all places, and of its function's own, is kept for
   * synchronous calls, as long as there is more than one place. `coming` counts asynchronous calls that are about to
   * enter.
   */
  roomBehind({ id, max_concurrency }: Pick<Function, "id" | "max_concurrency">, coming: Coming): number {
    if (this.#waiting > 0) return 0;
    const line = this.#lines.get(id);
    const max = max_concurrency === 0 ? Infinity : max_concurrency;
    const own = (line?.running ?? 0) + coming.own;
    const shared = line === undefined ? 0 : line.places * line.sharing - own;
    const free = withRoomLeft(this.#limits.max_running) - this.#running - coming.all;
    return Math.max(0, Math.min(withRoomLeft(max) - own, Math.max(free, shared)));
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
    const calls = [...this.#lines.values()].reduce((sum, one) => sum + one.running, 0);
    const message = `The server runs ${calls} calls at once and ${this.#waiting} wait already: try again in ${retry_after_s} s, or raise MAX_INSTANCES or QUEUE_LIMIT`;
    throw new AppError("overloaded", message, { retry_after_s });
  }

  #wait(line: Line, signal: AbortSignal): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    line.waiting.add(resolve);
    this.#waiting++;
    this.#queueUp(line);
    const stopListening = onAbort(signal, () => {
      if (!line.waiting.delete(resolve)) return;
      this.#waiting--;
      this.#admit(line);
      this.#forget(line);
      reject(signal.reason);
    });
    return promise.finally(stopListening);
  }

  /**
   * Returns whether there is a place for one more call of a line: a free one, or one that its calls share. While other lines
   * wait for a place, a line with several does not fill them up again, so that one becomes free.
   */
  #fits(line: Line): boolean {
    if (this.#running < this.#limits.max_running) return true;
    if (line.running >= line.places * line.sharing) return false;
    return line.places === 1 ? !this.#yields(line) : this.#turns.size <= (this.#turns.has(line) ? 1 : 0);
  }

  /** Returns whether a line that has one place is to give it back, as another one has waited for long. One does so at a time. */
  #yields(line: Line): boolean {
    const now = this.#clock.monotonic();
    // The first has waited longest.
    const [first] = this.#turns;
    if (first === undefined || first === line || now - first.waitsSince < PATIENCE_MS) return false;
    if (this.#yielding !== undefined && now < this.#yielding.until) return this.#yielding.line === line;
    if (now - line.yieldedAt < YIELD_AGAIN_MS) return false;
    line.yieldedAt = now;
    const yielding = (this.#yielding = { line, until: now + YIELD_MS });
    this.#clock.after(YIELD_MS, () => {
      // A timer may fire somewhat before its time.
      if (this.#yielding === yielding) this.#yielding = undefined;
      this.#admit(line);
    });
    return true;
  }

  /** Counts a call of a line that begins (1) or ends (-1). */
  #count(line: Line, change: number): void {
    line.running += change;
    const places = line.sharing === 1 ? line.running : Math.ceil(line.running / line.sharing);
    this.#running += places - line.places;
    line.places = places;
  }

  #place(line: Line): Place {
    this.#count(line, 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#count(line, -1);
      const now = this.#clock.monotonic();
      this.#pace.freed(now);
      line.pace.freed(now);
      this.#admit(line);
      this.#forget(line);
    };
  }

  /** Gives free places to the lines whose turn it is, after this line has changed. A line that got one goes to the end. */
  #admit(changed: Line): void {
    this.#queueUp(changed);
    let latest = changed;
    for (;;) {
      // With all places taken, a line that has just changed or waits alone may have a call more in a place that its calls share.
      const full = this.#running >= this.#limits.max_running;
      const line = full ? this.#sharing(latest) : this.#turns.values().next().value;
      const letIn = line?.waiting.values().next().value;
      if (line === undefined || letIn === undefined) return;
      line.waiting.delete(letIn);
      this.#waiting--;
      this.#turns.delete(line);
      const place = this.#place(line);
      this.#queueUp(line);
      letIn(place);
      latest = line;
    }
  }

  #sharing(latest: Line): Line | undefined {
    const line = this.#turns.size === 1 ? this.#turns.values().next().value : latest;
    return line !== undefined && this.#turns.has(line) && this.#fits(line) ? line : undefined;
  }

  /** Gives a line a turn if it can use one. A line that already has one keeps its position. */
  #queueUp(line: Line): void {
    if (line.waiting.size === 0 || line.running >= line.max) this.#turns.delete(line);
    else if (!this.#turns.has(line)) {
      line.waitsSince = this.#clock.monotonic();
      this.#turns.add(line);
    }
  }

  #lineOf({ id, max_concurrency, concurrency }: AdmittedFunction): Line {
    const max = max_concurrency === 0 ? Infinity : max_concurrency;
    const known = this.#lines.get(id);
    if (known !== undefined) return Object.assign(known, { max, sharing: concurrency });
    const line: Line = {
      id,
      max,
      sharing: concurrency,
      running: 0,
      places: 0,
      waiting: new Set(),
      pace: new Pace(),
      waitsSince: 0,
      yieldedAt: -Infinity,
    };
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

/** The rate at which places become free, as an exponential mean of about the last eight; `Retry-After` comes from it. */
class Pace {
  #seconds = 1;
  #last: number | undefined;

  freed(now: number): void {
    // A longer pause says nothing about the load.
    if (this.#last !== undefined) this.#seconds += (Math.min((now - this.#last) / 1000, 10) - this.#seconds) / 8;
    this.#last = now;
  }

  /** The time until so many calls have had their turn, in whole seconds from 1 to 60. */
  secondsFor(waiting: number): number {
    return Math.min(60, Math.max(1, Math.ceil(waiting * this.#seconds)));
  }
}
