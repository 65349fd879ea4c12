import type { Clock } from "../../clock.ts";
import { Alarm } from "../../domain/concurrency.ts";
import { AppError, messageOf } from "../../domain/errors.ts";
import { BOOT_TIMEOUT_MS, TIMEOUT_MS } from "../../domain/limits.ts";
import { quoted } from "../../domain/quoted.ts";
import type { Logger } from "../../log.ts";
import type { LeftRecord, LeftRecordStore } from "../../store/cluster/left-records.ts";
import type { History } from "../../store/history.ts";
import type { FunctionService } from "../functions/functions.ts";
import type { Tracing } from "../tracing/tracing.ts";

/** The time between two looks, in milliseconds. */
const LOOK_MS = 5_000;
/** The time that a call may take besides its function's own: to wait for an instance, to be ended, and to have its record written. */
const BESIDES_MS = 60_000;

interface LostServersDeps {
  readonly store: LeftRecordStore;
  readonly history: Pick<History, "get">;
  readonly functions: Pick<FunctionService, "get" | "findVersion">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tracing: Pick<Tracing, "exports" | "lost">;
}

/**
 * Ends the records of synchronous calls whose server was lost and has not come back. It waits for as long as such a call can take: a
 * server that is only cut off from the database writes their real ends itself when it has it back, also after that.
 */
export class LostServers implements AsyncDisposable {
  readonly #deps: LostServersDeps;
  readonly #next: Alarm;
  /** Never rejects. */
  #looking: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(deps: LostServersDeps) {
    this.#deps = deps;
    this.#next = new Alarm(deps.clock, () => this.#begin());
  }

  /** Begins to look, again and again. */
  start(): void {
    this.#next.set(LOOK_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#next[Symbol.dispose]();
    await this.#looking;
  }

  #begin(): void {
    this.#looking = this.#look()
      .catch((error: unknown) =>
        this.#deps.log.debug("cannot look for calls of lost servers", { reason: messageOf(error) }),
      )
      .then(() => {
        if (!this.#isOver) this.#next.set(LOOK_MS);
      });
  }

  async #look(): Promise<void> {
    const { store, clock, log } = this.#deps;
    const left = await store.list(BESIDES_MS);
    const lost: { id: string; message: string }[] = [];
    for (const record of left) {
      if (record.silent_ms < (await this.#longest(record))) continue;
      const message = `The server ${quoted(record.holder)} was lost while it ran this call: how it ended is not known`;
      lost.push({ id: record.id, message });
    }
    if (lost.length === 0) return;
    const ended = await store.end(lost, clock.now());
    log.warn("invocations lost with another server", { count: ended.length });
    await this.#trace(ended);
  }

  /** Returns the longest time that a call may take, in milliseconds; of a version that is not kept any more, the longest of all. */
  async #longest({ function_id, version }: LeftRecord): Promise<number> {
    const fn = await this.#versionOf(function_id, version);
    const { timeout_ms, boot_timeout_ms } = fn ?? { timeout_ms: TIMEOUT_MS.max, boot_timeout_ms: BOOT_TIMEOUT_MS.max };
    return timeout_ms + boot_timeout_ms + BESIDES_MS;
  }

  async #versionOf(id: string, version: number | null) {
    const { functions } = this.#deps;
    try {
      const fn = functions.get(id);
      return version === null ? fn : await functions.findVersion(fn, version);
    } catch (error) {
      if (error instanceof AppError && error.reason === "not_found") return undefined;
      throw error;
    }
  }

  async #trace(ids: readonly string[]): Promise<void> {
    const { tracing, history } = this.#deps;
    if (!tracing.exports) return;
    for (const id of ids) {
      const record = await history.get(id);
      if (record !== undefined) tracing.lost(record);
    }
  }
}
