import type { Clock } from "../clock.ts";
import { AppError } from "../domain/errors.ts";
import { type Function, FUNCTION_DEFAULTS } from "../domain/functions/functions.ts";
import { cellsRefused } from "../domain/functions/isolation.ts";
import type { Settings } from "../domain/functions/settings.ts";
import { Instance } from "./instance/instance.ts";
import type { Platform } from "./platform.ts";

interface CellCheckDeps {
  readonly platform: Pick<Platform, "launch">;
  readonly ready_timeout_ms: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The name under which nothing is shared with the instances of a function. */
const GROUP = "cell-check";

/**
 * Finds out whether cells can be made, by having a gate make one and try its walls: not by the engine's name, as a daemon may
 * have a profile of its own. That they can is remembered until the engine is connected to again; that they cannot is not.
 */
export class CellCheck {
  readonly #deps: CellCheckDeps;
  /** The trials that go on or have succeeded, by what makes a difference to cells. */
  readonly #known = new Map<string, Promise<void>>();

  constructor(deps: CellCheckDeps) {
    this.#deps = deps;
  }

  /** Forgets what was found out: the engine may be another one. */
  forget(): void {
    this.#known.clear();
  }

  /**
   * Throws `invalid_request` with the cause if no cell can be made with these settings, and `engine_unavailable` if the engine
   * cannot be asked. An image whose container does not start for another reason says nothing of cells.
   */
  async check(
    { runtime = null, sandbox = "default", read_only = false }: Partial<Settings>,
    imageId: string,
  ): Promise<void> {
    const key = JSON.stringify([runtime, sandbox, read_only]);
    const trial = this.#known.get(key) ?? this.#try({ runtime, sandbox, read_only }, imageId);
    this.#known.set(key, trial);
    try {
      await trial;
    } catch (error) {
      this.#known.delete(key);
      if (!(error instanceof AppError)) throw error;
      if (error.reason === "isolation_unavailable") throw cellsRefused(causeOf(error), runtime);
      if (error.reason === "engine_unavailable") throw error;
    }
  }

  async #try(settings: Pick<Settings, "runtime" | "sandbox" | "read_only">, imageId: string): Promise<void> {
    const { platform, clock, ready_timeout_ms, signal } = this.#deps;
    const now = new Date(clock.now()).toISOString();
    const fn: Function = {
      ...FUNCTION_DEFAULTS,
      ...settings,
      id: GROUP,
      image: imageId,
      image_id: imageId,
      digest: null,
      isolation: "cell",
      max_calls: 0,
      network: "none",
      created_at: now,
      updated_at: now,
    };
    const instance = new Instance(await platform.launch(fn, GROUP, signal), clock);
    try {
      await instance.ready(ready_timeout_ms, signal);
    } finally {
      instance.retire();
    }
  }
}

function causeOf(error: AppError): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}
