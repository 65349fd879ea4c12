import type { Clock } from "../../../clock.ts";
import type { CatchUp } from "../../cluster/catch-up.ts";
import type { Client } from "../client/client.ts";
import type { SharedConfiguration } from "./shared-configuration.ts";

/** The time that the database has to say which version of the configuration is the current one, in milliseconds. */
const ANSWER_MS = 1_000;
/** The time after a look that found no change before the next one for something unknown, in milliseconds. */
const PAUSE_MS = 100;

interface CatchUpDeps {
  readonly client: Pick<Client, "get">;
  readonly clock: Pick<Clock, "after" | "monotonic">;
  readonly configuration: Pick<SharedConfiguration, "version">;
  /** Brings the configuration up to date. */
  readonly refresh: () => Promise<void>;
}

/**
 * Compares the version of the configuration with that in the database, by one statement at a time that all who wait share, and reads
 * what has changed. Once the database has not answered, nobody waits for it until another part of the server has heard from it.
 */
export class VersionCatchUp implements CatchUp, Disposable {
  readonly #deps: CatchUpDeps;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #unknown: Promise<void> | undefined;
  #inVainAt = -Infinity;
  #isAway = false;
  #endPause: () => void = () => undefined;

  constructor(deps: CatchUpDeps) {
    this.#deps = deps;
  }

  /** Notes whether the database has answered another part of the server. */
  heard(isThere: boolean): void {
    this.#isAway = !isThere;
  }

  now(): Promise<void> {
    if (this.#isAway) return Promise.resolve();
    if (this.#running === undefined) return this.#begin();
    // The one under way may have read the version before the change that this caller knows of.
    return (this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      return this.#running ?? this.#begin();
    }));
  }

  forUnknown(): Promise<void> {
    if (this.#isAway) return Promise.resolve();
    return (this.#unknown ??= this.#pause().then(() => {
      this.#unknown = undefined;
      return this.now();
    }));
  }

  [Symbol.dispose](): void {
    this.#isAway = true;
    this.#endPause();
  }

  #begin(): Promise<void> {
    this.#running = this.#look().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #look(): Promise<void> {
    const { configuration, refresh, clock } = this.#deps;
    const version = await this.#current();
    if (version === undefined) this.#isAway = true;
    else if (version === configuration.version) this.#inVainAt = clock.monotonic();
    else await refresh().catch(() => void (this.#isAway = true));
  }

  /** Returns the version in the database; undefined if it does not answer in time. */
  async #current(): Promise<number | undefined> {
    const { client, clock } = this.#deps;
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const cancel = clock.after(ANSWER_MS, () => resolve(undefined));
    const sql = "select version from configuration_state where id = 1";
    const asked = client.get<{ version: number }>(sql).catch(() => undefined);
    const state = await Promise.race([asked, late]);
    cancel();
    return state?.version;
  }

  /** Settles at once unless the last look, a moment ago, found no change. */
  async #pause(): Promise<void> {
    const { clock } = this.#deps;
    const ms = this.#inVainAt + PAUSE_MS - clock.monotonic();
    if (ms <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(ms, resolve);
    this.#endPause = () => {
      cancel();
      resolve();
    };
    await promise;
  }
}
