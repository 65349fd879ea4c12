import { Database } from "../../sqlite/database/database.ts";
import type { Cache } from "../../sqlite/database/cache.ts";
import type { Mirror } from "./mirror.ts";
import type { SharedConfiguration } from "./shared-configuration.ts";

/** The mirror as the tables of the configuration see it: each write goes through the shared database. */
export class MirrorDatabase extends Database {
  /** Set once, right after it was made: each needs the other. */
  shared: SharedConfiguration | undefined;
  readonly #caches: Pick<Cache<object>, "clear">[] = [];
  #changes = 0;

  constructor(mirror: Mirror) {
    super(mirror.sqlite, { isKnown: true });
  }

  override durably<T>(work: () => T, committed?: (result: T) => void): Promise<T> {
    const { shared } = this;
    if (shared === undefined) throw new Error("Nothing can be changed yet");
    return shared.change(() => {
      this.#changes++;
      return work();
    }, committed);
  }

  override fast<T>(work: () => T): Promise<T> {
    return this.durably(work);
  }

  /** Different in each change: what was tried for one of them is undone before the next. */
  override get epoch(): number {
    return this.#changes;
  }

  override cache<V extends object>(): Cache<V> {
    const cache = super.cache<V>();
    this.#caches.push(cache);
    return cache;
  }

  /** Forgets what is cached, as rows have come from elsewhere. */
  forget(): void {
    for (const cache of this.#caches) cache.clear();
  }
}
