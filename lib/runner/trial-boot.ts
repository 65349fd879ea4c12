import { AppError, type Reason } from "../domain/errors.ts";
import type { TrialEnd } from "../domain/functions/detection.ts";
import type { Function } from "../domain/functions/functions.ts";
import type { PoolInstance } from "./instance/pool-instance.ts";
import type { Capacity } from "./pool/capacity.ts";

/**
 * The time that a program has in its trial, in milliseconds. What has neither ended nor listened by then is a server that
 * starts slowly: a program for the contract `files` that finds no request ends at once.
 */
const TRIAL_MS = 10_000;

/** The ends of a program in its trial: it is no server, or not with these settings. Anything else is no fault of its image. */
const ENDED: ReadonlySet<Reason> = new Set(["boot_failed", "entrypoint_failed", "out_of_memory"]);

interface TrialDeps {
  /** Starts an instance and waits until its function listens. Nothing is shared with other instances of the group. */
  readonly boot: (fn: Function, group: string) => Promise<PoolInstance>;
  readonly capacity: Capacity;
}

/**
 * Starts a function once to see whether it is a server: some images that expose a port have it from their base image, and
 * are made for the contract `files`. One trial at a time, so that a batch of registrations starts no batch of containers.
 */
export class TrialBoot {
  readonly #deps: TrialDeps;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: TrialDeps) {
    this.#deps = deps;
  }

  /**
   * Returns whether a function of the contract `http` listens, or has ended. Throws the error that keeps its container from
   * being started.
   */
  run(fn: Function): Promise<TrialEnd> {
    const trial = this.#last.then(() => this.#try(fn));
    this.#last = trial.catch(() => undefined);
    return trial;
  }

  async #try(fn: Function): Promise<TrialEnd> {
    const { boot, capacity } = this.#deps;
    // With no room left it is one container more for a moment: what an image is must not depend on the load.
    const room = capacity.take(fn.memory_bytes);
    try {
      const trial = { ...fn, boot_timeout_ms: Math.min(fn.boot_timeout_ms, TRIAL_MS), ready_path: null };
      const instance = await boot(trial, `trial-${fn.id}`);
      instance.retire();
      return { listens: true };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (error.reason === "boot_timeout") return { listens: true };
      if (!ENDED.has(error.reason)) throw error;
      return { listens: false, why: error.message };
    } finally {
      room?.();
    }
  }
}
