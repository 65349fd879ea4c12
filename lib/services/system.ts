import type { Clock } from "../clock.ts";
import type { SystemState, Unowned } from "../domain/system/system.ts";
import type { Logger } from "../log.ts";
import type { Platform } from "../runner/platform.ts";
import type { Runner } from "../runner/runner.ts";
import type { Store } from "../store/store.ts";
import type { StatusService } from "./status.ts";

/** The time that a list of what has no owner is kept, in milliseconds: each costs six requests to the engine. */
const FRESH_MS = 5_000;

interface SystemDeps {
  readonly status: Pick<StatusService, "readiness">;
  readonly runner: Pick<Runner, "budgets">;
  readonly platform: Pick<Platform, "unowned">;
  readonly store: {
    readonly functions: Pick<Store["functions"], "all">;
    readonly pulledImages: Pick<Store["pulledImages"], "get">;
    readonly ledger: Pick<Store["ledger"], "keptBytes">;
  };
  readonly builds: { readonly isBusy: boolean };
  /** Memory for bodies: what is taken, and the most that may be. */
  readonly body_memory: { readonly used: number };
  readonly body_bytes: number;
  readonly queue_bytes: number;
  readonly databaseBytes: () => number;
  /** Lists the servers that share the database; undefined if this one has it for itself. */
  readonly servers: (() => Promise<NonNullable<SystemState["servers"]>>) | undefined;
  readonly clock: Pick<Clock, "monotonic">;
  readonly log: Logger;
}

/** Says how the server itself is doing: engine, database, budgets, and what it has lost on the engine. */
export class SystemService {
  readonly #deps: SystemDeps;
  #look: { readonly at: number; readonly unowned: Promise<Unowned[] | null> } | undefined;

  constructor(deps: SystemDeps) {
    this.#deps = deps;
  }

  /** Returns the state of now; that of the engine is at most a few seconds old. */
  async state(): Promise<SystemState> {
    const { status, runner, store, body_memory, databaseBytes, servers, ...limits } = this.#deps;
    const { engine, database } = await status.readiness();
    const unowned = engine.ok ? await this.#unowned() : null;
    const queued = database.ok ? await store.ledger.keptBytes() : 0;
    return {
      engine,
      database: { ...database, bytes: databaseBytes() },
      budgets: {
        ...runner.budgets,
        body_bytes: { used: body_memory.used, limit: limits.body_bytes },
        queue_bytes: { used: queued, limit: limits.queue_bytes },
      },
      unowned,
      servers: database.ok && servers !== undefined ? await servers() : null,
    };
  }

  /** Asks the engine once for all who ask at about the same time; returns null if it cannot be asked. */
  #unowned(): Promise<Unowned[] | null> {
    const now = this.#deps.clock.monotonic();
    if (this.#look === undefined || now - this.#look.at >= FRESH_MS) {
      this.#look = { at: now, unowned: this.#ask() };
    }
    return this.#look.unowned;
  }

  async #ask(): Promise<Unowned[] | null> {
    const { platform, store, builds, log } = this.#deps;
    const volumes = async () => {
      const functions = await store.functions.all();
      return new Set(functions.flatMap(({ volumes }) => volumes.map(({ name }) => name)));
    };
    try {
      return await platform.unowned({
        volumes,
        keepsImage: (id) => store.pulledImages.get(id) !== undefined,
        isBuilding: () => builds.isBusy,
      });
    } catch (error) {
      log.warn("the engine did not say what has no owner", { error });
      return null;
    }
  }
}
