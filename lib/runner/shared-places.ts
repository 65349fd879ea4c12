import type { Clock } from "../clock.ts";
import { Alarm, onAbort } from "../domain/concurrency.ts";
import { AppError } from "../domain/errors.ts";
import type { Function } from "../domain/functions/functions.ts";
import { KILL_GRACE_MS, TIMEOUT_SLACK_MS } from "../domain/limits.ts";

/** The time between two looks for places that others have given back, in milliseconds: news of them may be missed. */
const LOOK_MS = 1_000;
/** The time between two renewals, in milliseconds, and the time that places last beyond the calls that may begin in them until the next. */
const RENEW_MS = 10_000;
const LEASE_MS = 30_000;
/** The time for which a server leaves the places that it gives back to one that waits for them, in milliseconds. */
const LEAVE_MS = 100;
/** The time for which another server is taken to wait, in milliseconds: it says so again each second. */
const WANTED_MS = 2_000;

/** A place that a call has. Calling it gives the place back; only the first call counts. */
export type SharedPlace = () => void;

/** The other servers, as far as places are concerned. */
export interface PlaceKeeper {
  /** Sets how many of `most` places this server has for so many milliseconds, and returns how many it got. */
  set(functionId: string, asked: { places: number; most: number; for_ms: number }): Promise<number>;
  /** Returns this server's share of so many places: they are divided while nobody can be asked. */
  shareOf(most: number): number;
  /** Tells the other servers that there are places again, or that this one waits for some. */
  tell(news: "freed" | "wanted", functionId: string): void;
}

/** News of other servers, by the ids of functions: they have given back places, or wait for some. */
export interface SharedPlaceNews {
  readonly freed: readonly string[];
  readonly wanted: readonly string[];
}

/** The settings of a function that places go by. */
type PlacedFunction = Pick<Function, "id" | "max_concurrency" | "timeout_ms">;

interface Line {
  readonly id: string;
  most: number;
  timeoutMs: number;
  /** The places that this server has. While it asks for fewer it has only so many. */
  have: number;
  used: number;
  /** Calls that wait, in order of arrival, and places that are being asked for asynchronous ones. */
  readonly waiting: Set<(place: SharedPlace) => void>;
  reserving: number;
  /** True if another server has given some back since the question under way. */
  isFreed: boolean;
  asking: Promise<void> | undefined;
  /** Monotonic times. */
  askedAt: number;
  leavesUntil: number;
  wantedUntil: number;
}

/**
 * The places of functions with a `max_concurrency`, which counts the calls of all servers of a database. A server asks for a
 * place when a call needs one, and gives it back when none of its own calls waits for it, or when a call of another server does.
 * While nobody can be asked each server has its share.
 */
export class SharedPlaces implements Disposable {
  readonly #keeper: PlaceKeeper;
  readonly #queue: number;
  readonly #clock: Clock;
  readonly #lines = new Map<string, Line>();
  readonly #look: Alarm;
  /** True if the last question was not answered. */
  #isAway = false;
  #isClosed = false;

  /** At most `queue` calls of a function wait. */
  constructor(keeper: PlaceKeeper, { queue, clock }: { readonly queue: number; readonly clock: Clock }) {
    this.#keeper = keeper;
    this.#queue = queue;
    this.#clock = clock;
    this.#look = new Alarm(clock, () => {
      for (const line of this.#lines.values()) void this.#ask(line);
      if (this.#lines.size > 0) this.#look.setSooner(LOOK_MS);
    });
  }

  /** The number of calls that wait here. */
  get waiting(): number {
    return [...this.#lines.values()].reduce((sum, { waiting }) => sum + waiting.size, 0);
  }

  /** Waits for a place. Throws `too_many_requests` if too many wait, and the signal's reason if it aborts. */
  async enter(fn: PlacedFunction, signal: AbortSignal): Promise<SharedPlace> {
    signal.throwIfAborted();
    const line = this.#lineOf(fn);
    if (line.waiting.size === 0 && line.used < this.#usable(line)) return this.#use(line);
    if (line.waiting.size >= this.#queue) {
      const message = `The function runs ${line.most} calls at once on all servers and ${line.waiting.size} wait here already: try again in 1 s, or raise its "max_concurrency"`;
      throw new AppError("too_many_requests", message, { retry_after_s: 1 });
    }
    const { promise, resolve, reject } = Promise.withResolvers<SharedPlace>();
    line.waiting.add(resolve);
    void this.#ask(line);
    const stop = onAbort(signal, () => {
      if (line.waiting.delete(resolve)) reject(signal.reason);
    });
    return promise.finally(stop);
  }

  /** Takes places for asynchronous calls, at most so many, and none of those that are kept for synchronous ones. */
  async reserve(fn: PlacedFunction, most: number): Promise<SharedPlace[]> {
    const line = this.#lineOf(fn);
    if (line.waiting.size === 0 && line.have - line.used < most) {
      line.reserving += most;
      await line.asking;
      await this.#ask(line);
      line.reserving -= most;
    }
    const free = line.waiting.size > 0 || this.#isAway ? 0 : line.have - line.used;
    return Array.from({ length: Math.max(0, Math.min(most, free)) }, () => this.#use(line));
  }

  /** Passes on that other servers have given back places of these functions. */
  freed(functionIds: Iterable<string>): void {
    for (const line of this.#linesOf(functionIds)) {
      line.isFreed = true;
      if (line.waiting.size > 0) void this.#ask(line);
    }
  }

  /** Passes on that other servers wait for places of these functions. */
  wanted(functionIds: Iterable<string>): void {
    for (const line of this.#linesOf(functionIds)) line.wantedUntil = this.#clock.monotonic() + WANTED_MS;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#look[Symbol.dispose]();
  }

  #linesOf(functionIds: Iterable<string>): Line[] {
    return [...functionIds].flatMap((id) => this.#lines.get(id) ?? []);
  }

  #usable({ most, have }: Line): number {
    return this.#isAway ? this.#keeper.shareOf(most) : have;
  }

  #use(line: Line): SharedPlace {
    line.used++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      line.used--;
      const now = this.#clock.monotonic();
      if (now < line.wantedUntil && line.used < line.have) {
        line.leavesUntil = now + LEAVE_MS;
        this.#clock.after(LEAVE_MS, () => void this.#ask(line));
      } else this.#letIn(line);
      void this.#ask(line);
    };
  }

  #letIn(line: Line): void {
    for (const next of line.waiting) {
      if (line.used >= this.#usable(line)) return;
      line.waiting.delete(next);
      next(this.#use(line));
    }
  }

  /** Asks for as many places as the calls need, one question of a function at a time. Never rejects. */
  #ask(line: Line): Promise<void> {
    line.asking ??= this.#askAgain(line).finally(() => {
      line.asking = undefined;
      if (line.used + line.waiting.size + line.reserving + line.have === 0) this.#lines.delete(line.id);
    });
    return line.asking;
  }

  async #askAgain(line: Line): Promise<void> {
    this.#look.setSooner(LOOK_MS);
    for (;;) {
      const now = this.#clock.monotonic();
      const calls = now < line.leavesUntil ? 0 : line.waiting.size;
      const places = line.used + Math.min(calls + line.reserving, Math.max(0, line.most - line.used));
      const isRenewal = line.used > 0 && now - line.askedAt >= RENEW_MS;
      if (this.#isClosed || (places === line.have && !isRenewal && !this.#isAway)) return;
      const frees = places < line.have;
      line.isFreed = false;
      // Nothing may begin in a place that is being given back.
      line.have = Math.min(line.have, places);
      line.askedAt = now;
      try {
        const for_ms = line.timeoutMs + KILL_GRACE_MS + TIMEOUT_SLACK_MS + LEASE_MS;
        // A quarter is kept for calls whose callers wait.
        const most = calls === 0 && line.reserving > 0 ? Math.max(1, Math.floor(line.most * 0.75)) : line.most;
        line.have = await this.#keeper.set(line.id, { places, most, for_ms });
        this.#isAway = false;
      } catch {
        // The next look asks again.
        this.#isAway = true;
      }
      this.#letIn(line);
      if (frees && !this.#isAway) this.#keeper.tell("freed", line.id);
      if (this.#isAway) return;
      if (line.have >= places || line.isFreed) continue;
      if (line.waiting.size > 0) this.#keeper.tell("wanted", line.id);
      return;
    }
  }

  #lineOf({ id, max_concurrency: most, timeout_ms: timeoutMs }: PlacedFunction): Line {
    const known = this.#lines.get(id);
    if (known !== undefined) return Object.assign(known, { most, timeoutMs });
    const line: Line = {
      id,
      most,
      timeoutMs,
      have: 0,
      used: 0,
      waiting: new Set(),
      reserving: 0,
      isFreed: false,
      asking: undefined,
      askedAt: -Infinity,
      leavesUntil: -Infinity,
      wantedUntil: -Infinity,
    };
    this.#lines.set(id, line);
    return line;
  }
}
