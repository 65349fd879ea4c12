import type { Clock } from "../../clock.ts";
import { NO_PROGRESS, type PullProgress, type PullWatcher } from "../../domain/images/pull-progress.ts";

/** Watchers are called five times a second at most: the engine sends a line for each half megabyte of each layer. */
const INTERVAL_MS = 200;

/**
 * A pull that all callers that want the image wait for. A late watcher gets the progress at once; one that leaves does
 * not end the pull.
 */
export class SharedPull {
  /** Settles when the pull has ended, after the watchers got the last progress. */
  readonly done: Promise<void>;
  readonly #clock: Clock;
  readonly #watchers = new Set<PullWatcher>();
  #latest: () => PullProgress = () => NO_PROGRESS;
  #toldAt: number;
  #cancelTimer: (() => void) | undefined;

  /** Begins at once. */
  constructor(clock: Clock, run: (onProgress: (progress: () => PullProgress) => void) => Promise<void>) {
    this.#clock = clock;
    this.#toldAt = clock.monotonic();
    this.done = this.#run(run);
  }

  watch(watcher: PullWatcher): void {
    this.#watchers.add(watcher);
    watcher.onProgress(this.#latest());
  }

  async #run(run: (onProgress: (progress: () => PullProgress) => void) => Promise<void>): Promise<void> {
    try {
      await run((progress) => this.#note(progress));
    } finally {
      if (this.#cancelTimer !== undefined) this.#tell();
    }
  }

  #note(progress: () => PullProgress): void {
    this.#latest = progress;
    if (this.#cancelTimer !== undefined) return;
    const passed = this.#clock.monotonic() - this.#toldAt;
    if (passed >= INTERVAL_MS) this.#tell();
    else this.#cancelTimer = this.#clock.after(INTERVAL_MS - passed, () => this.#tell());
  }

  #tell(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#toldAt = this.#clock.monotonic();
    const progress = this.#latest();
    for (const watcher of this.#watchers) {
      if (watcher.signal.aborted) this.#watchers.delete(watcher);
      else watcher.onProgress(progress);
    }
  }
}
