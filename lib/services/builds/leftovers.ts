import type { Clock } from "../../clock.ts";
import { Alarm, TaskGroup } from "../../domain/concurrency.ts";
import { messageOf } from "../../domain/errors.ts";
import type { Logger } from "../../log.ts";
import type { BuildTimes, ImageBuilder } from "../../runner/platform.ts";

/** The time to the next try after one that failed, or that left what is in use, in milliseconds. */
const RETRY_MS = 5_000;
/** The engine may still finish a step of a build whose server was killed: it is looked at after so many milliseconds, too. */
const LATE_MS: readonly number[] = [2_000, 10_000, 60_000];

/** The wait for the last sweep when the server stops. If the engine hangs, the next start sweeps. */
const LAST_SWEEP_MS = 2_000;

/** The time for which the engine keeps what a build may use again and none has used, in milliseconds: a day. */
const CACHE_MS = 24 * 3_600_000;
/** The pause between two searches for what was kept for so long, in milliseconds. */
const CACHE_CHECK_MS = 3_600_000;

interface LeftoversDeps {
  readonly builder: Pick<ImageBuilder, "discard" | "sweep" | "removeUnusedCache">;
  /** Returns the times of the builds that are over, as far as they are known. */
  readonly times: () => readonly BuildTimes[];
  /** Returns whether a build runs: its images look like those that were left. */
  readonly isBusy: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Removes what builds have left on the engine, as soon as no build runs. */
export class Leftovers implements AsyncDisposable {
  readonly #deps: LeftoversDeps;
  readonly #next: Alarm;
  readonly #late: number[] = [];
  /** Names of images whose builds an earlier server did not finish. */
  #names: readonly string[] = [];
  #sweeping: Promise<void> = Promise.resolve();
  #isDue = false;
  #isStopped = false;

  constructor(deps: LeftoversDeps) {
    this.#deps = deps;
    this.#next = new Alarm(deps.clock, () => this.#sweep());
  }

  /** Sweeps, also for images that builds of an earlier server may just have finished. */
  ofEarlierServer(names: readonly string[]): void {
    this.#names = names;
    if (names.length > 0) this.#late.push(...LATE_MS);
    this.soon();
  }

  /** Sweeps soon. */
  soon(): void {
    this.#isDue = true;
    if (!this.#isStopped) this.#next.setSooner(0);
  }

  /** Settles when no sweep is under way. */
  settled(): Promise<void> {
    return this.#sweeping;
  }

  /** Sweeps a last time if a build has just ended, but does not wait long for an engine that does not answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    this.#next[Symbol.dispose]();
    const last = new TaskGroup();
    void last.add(this.#isDue ? this.#sweeping.then(() => this.#run()) : this.#sweeping);
    await last.settledWithin(this.#deps.clock, LAST_SWEEP_MS);
  }

  #sweep(): void {
    // The end of the last build calls `soon`.
    if (this.#isStopped || this.#deps.isBusy()) return;
    this.#isDue = false;
    this.#sweeping = this.#run();
  }

  async #run(): Promise<void> {
    const { builder, log } = this.#deps;
    try {
      for (const name of this.#names) await builder.discard(name);
      const isAll = await builder.sweep();
      await this.#trimCache();
      // An image whose name is gone may still be that of a container, which will be gone, too.
      if (!isAll && !this.#isStopped) this.#next.setSooner(RETRY_MS);
    } catch (error) {
      log.debug("what builds have left is not removed, will try again", { problem: messageOf(error) });
      if (!this.#isStopped) this.#next.setSooner(RETRY_MS);
      return;
    }
    const next = this.#late.shift();
    if (next !== undefined && !this.#isStopped) this.#next.setSooner(next);
  }

  /** Removes what was kept of builds for too long, and looks again as long as there may be some. */
  async #trimCache(): Promise<void> {
    const { builder, times, clock } = this.#deps;
    const builds = times();
    if (builds.length === 0) return;
    const now = clock.now();
    await builder.removeUnusedCache(builds, now - CACHE_MS);
    const mayBeKept = builds.some(({ to }) => to > now - CACHE_MS - 2 * CACHE_CHECK_MS);
    if (mayBeKept && !this.#isStopped) this.#next.setSooner(CACHE_CHECK_MS);
  }
}
