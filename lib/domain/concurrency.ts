import type { Clock } from "../clock.ts";

/** Keeps background tasks for an owner that waits for all of them. The code that starts a task handles its failure. */
export class TaskGroup {
  readonly #running = new Set<Promise<unknown>>();

  /** The number of tasks that have not ended. */
  get size(): number {
    return this.#running.size;
  }

  /** Adds a task and returns it. It leaves the group when it succeeds or fails. */
  add<T>(task: Promise<T>): Promise<T> {
    this.#running.add(task);
    const leave = () => void this.#running.delete(task);
    task.then(leave, leave);
    return task;
  }

  /** Waits until no task is left, including those that are added meanwhile. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  /** Waits like `settled`, but at most `ms` milliseconds; returns whether all tasks have ended. */
  async settledWithin(clock: Clock, ms: number): Promise<boolean> {
    using limit = deadline(clock, ms);
    await Promise.race([this.settled(), aborted(limit.signal)]);
    return this.#running.size === 0;
  }
}

/** Tasks of a group that can be waited for by their names. */
export class NamedTasks {
  readonly #group: TaskGroup;
  readonly #byName = new Map<string, Promise<unknown>>();

  constructor(group: TaskGroup) {
    this.#group = group;
  }

  /** Adds a task; a name has one at a time. The code that starts a task handles its failure. */
  add(name: string, task: Promise<unknown>): void {
    const forget = () => this.#byName.delete(name);
    this.#byName.set(name, this.#group.add(task).then(forget, forget));
  }

  /** Waits until the task of that name has ended, if there is one. */
  async ended(name: string): Promise<void> {
    await this.#byName.get(name);
  }
}

/** Calls `run` once when the signal aborts, or now if it has already. The returned function stops listening. */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  if (signal.aborted) {
    run();
    return () => undefined;
  }
  signal.addEventListener("abort", run, { once: true });
  return () => signal.removeEventListener("abort", run);
}

/** Settles when the signal aborts. Only for signals that end with the wait: the listener stays until then. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => void onAbort(signal, resolve));
}

/** A signal that aborts after a while or with other signals; disposing it stops its timer and its listeners. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  /** True if the time has run out; false if one of the other signals aborted. */
  readonly expired: boolean;
}

/** Starts a deadline of `ms` milliseconds; it aborts earlier, with the same reason, if one of `signals` does. */
export function deadline(clock: Clock, ms: number, ...signals: readonly AbortSignal[]): Deadline {
  const controller = new AbortController();
  let expired = false;
  const stopTimer = clock.after(ms, () => {
    expired = !controller.signal.aborted;
    controller.abort(new DOMException(`The time limit of ${ms} ms has passed`, "TimeoutError"));
  });
  const stops = signals.map((signal) => onAbort(signal, () => controller.abort(signal.reason)));
  return {
    signal: controller.signal,
    get expired() {
      return expired;
    },
    [Symbol.dispose]: () => {
      stopTimer();
      for (const stop of stops) stop();
    },
  };
}

/** Maps `items` in order of their results, with at most `limit` calls of `work` at a time. The first failure rejects. */
export async function mapConcurrent<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const entries = items.entries();
  const worker = async () => {
    for (const [index, item] of entries) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}

/** The longest that a slice of long work takes, in milliseconds. */
const SLICE_MS = 5;

/**
 * Cuts long work into slices, between which other tasks have their turn: `if (slices.over) await slices.next()` after each
 * step. It measures real time, since that is what others wait for.
 */
export class Slices {
  #began = performance.now();

  /** True if others should have their turn now. */
  get over(): boolean {
    return performance.now() - this.#began > SLICE_MS;
  }

  /** Waits until other tasks have had their turn. */
  async next(): Promise<void> {
    await new Promise<void>((resolve) => void setImmediate(resolve));
    this.#began = performance.now();
  }
}

/** Maps items in order, in slices. The first failure rejects. */
export async function mapInSlices<T, R>(items: Iterable<T>, work: (item: T) => R): Promise<R[]> {
  const slices = new Slices();
  const results: R[] = [];
  for (const item of items) {
    results.push(work(item));
    if (slices.over) await slices.next();
  }
  return results;
}

/** A timer for the soonest of several moments: setting it again moves it, and it goes off once. */
export class Alarm implements Disposable {
  readonly #clock: Clock;
  readonly #run: () => void;
  #cancel: (() => void) | undefined;
  #at = Infinity;

  constructor(clock: Clock, run: () => void) {
    this.#clock = clock;
    this.#run = run;
  }

  /** Goes off in `ms` milliseconds, whatever it was set to before. `Infinity` switches it off. */
  set(ms: number): void {
    this.clear();
    if (ms === Infinity) return;
    this.#at = this.#clock.monotonic() + ms;
    this.#cancel = this.#clock.after(ms, () => {
      this.#cancel = undefined;
      this.#at = Infinity;
      this.#run();
    });
  }

  /** Goes off in `ms` milliseconds unless it does so earlier anyway. */
  setSooner(ms: number): void {
    if (this.#clock.monotonic() + ms < this.#at) this.set(ms);
  }

  /** Switches it off. */
  clear(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#at = Infinity;
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}
