import type { Clock } from "../../clock.ts";
import { Alarm, Slices } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import { figuresOf, pointOf, type Stats } from "../../domain/stats/figures.ts";
import { down, parseStatsRange, type RawStatsQuery, type StatsRange } from "../../domain/stats/query.ts";
import { Tally } from "../../domain/stats/tally.ts";
import { timestamp } from "../../domain/types.ts";
import type { Logger } from "../../log.ts";
import type { Counted, StatsBucket, StatsStore } from "../../store/stats.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { Recorder } from "./recorder.ts";

/** Between two looks for calls that have ended, in milliseconds: the more are counted together, the less each costs. */
const COUNT_MS = 5_000;
/** Calls that are counted in one go: some 5 ms of the event loop, if each has another function. */
const BATCH = 200;
const PAUSE_MS = 20;
/** The longest that a reader waits for calls to be counted: some thousands of them. */
const CATCH_UP_MS = 100;

interface StatsDeps {
  readonly store: StatsStore;
  readonly recorder: Pick<Recorder, "flush">;
  readonly functions: Pick<FunctionService, "idOf">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Counts calls after they have ended, off their path, and returns the figures. */
export class StatsService implements Disposable {
  readonly #deps: StatsDeps;
  readonly #next: Alarm;
  #isOver = false;

  constructor(deps: StatsDeps) {
    this.#deps = deps;
    this.#next = new Alarm(deps.clock, () => void this.#count());
  }

  /** Begins to count. What is left uncounted at the end is counted by the next server. */
  start(): void {
    this.#next.set(COUNT_MS);
  }

  /** Returns the figures of a range. Throws `invalid_request`. */
  async read(query: RawStatsQuery): Promise<Stats> {
    const { store, recorder, functions, clock } = this.#deps;
    const now = clock.now();
    const range = parseStatsRange(query, now);
    // A name works in place of the id; the figures of a deleted function are found by its id only.
    const function_id = query.function_id === undefined ? null : functions.idOf(query.function_id);
    await recorder.flush();
    const complete = await this.#catchUp();
    const buckets = await store.read({ ...range, function_id });
    return { function_id, complete, ...(await gather(range, buckets, now)) };
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#next[Symbol.dispose]();
  }

  /** Counts what has ended before the reader came, unless that is very much; returns whether all is counted. */
  async #catchUp(): Promise<boolean> {
    const { clock } = this.#deps;
    const began = clock.monotonic();
    const slices = new Slices();
    for (;;) {
      const left = await this.#countBatch();
      if (left !== "ended" || clock.monotonic() - began > CATCH_UP_MS) return left === "nothing" || left === "too_much";
      if (slices.over) await slices.next();
    }
  }

  async #count(): Promise<void> {
    const left = await this.#countBatch();
    const isDone = left === "nothing" || left === "failed";
    if (!this.#isOver) this.#next.set(isDone ? COUNT_MS : PAUSE_MS);
  }

  /** Counts a batch, and returns what there is to do next. */
  async #countBatch(): Promise<Counted["left"] | "failed"> {
    try {
      return (await this.#deps.store.count(BATCH)).left;
    } catch (error) {
      this.#deps.log.warn("calls are not counted, will try again", { problem: messageOf(error) });
      return "failed";
    }
  }
}

/** Merges buckets into the steps of a range, and into its totals. */
async function gather(
  { since, until, step_ms }: StatsRange,
  buckets: readonly StatsBucket[],
  now: number,
): Promise<Pick<Stats, "since" | "until" | "step_ms" | "totals" | "points">> {
  const slices = new Slices();
  const totals = new Tally();
  const steps = new Map<number, Tally>();
  for (const { at, tally } of buckets) {
    const step = down(at, step_ms);
    const merged = steps.get(step) ?? new Tally();
    steps.set(step, merged);
    merged.merge(tally);
    if (slices.over) await slices.next();
  }
  const passed = (from: number, to: number) => Math.min(to, Math.max(from, now)) - from;
  const points: Stats["points"] = [];
  for (let at = since; at < until; at += step_ms) {
    const tally = steps.get(at);
    points.push(pointOf(at, tally, passed(at, at + step_ms)));
    if (tally !== undefined) totals.merge(tally);
    if (slices.over) await slices.next();
  }
  return {
    since: timestamp(since),
    until: timestamp(until),
    step_ms,
    totals: figuresOf(totals, passed(since, until)),
    points,
  };
}
