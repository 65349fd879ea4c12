import { messageOf } from "../domain/errors.ts";
import type { Runner } from "../runner/runner.ts";

/** The state of a part of the server: `ok`, or the cause of its problem and how to fix it. */
export interface Check {
  readonly ok: boolean;
  readonly problem: string | null;
}

export interface Readiness {
  readonly ready: boolean;
  readonly engine: Check;
  readonly database: Check;
}

/** Checks whether the server can run functions. */
export class StatusService {
  readonly #runner: Runner;
  readonly #probeDatabase: () => Promise<void>;

  /** `probeDatabase` rejects if the database cannot be read. */
  constructor(options: { runner: Runner; probeDatabase: () => Promise<void> }) {
    this.#runner = options.runner;
    this.#probeDatabase = options.probeDatabase;
  }

  async readiness(): Promise<Readiness> {
    const engine = await this.#checkEngine();
    const database = await this.#checkDatabase();
    return { ready: engine.ok && database.ok, engine, database };
  }

  async #checkEngine(): Promise<Check> {
    // The probe comes first: right after the start, all that is known is that the engine was not asked yet.
    const problem = (await this.#runner.probe()) ?? this.#runner.problem;
    return { ok: problem === undefined, problem: problem?.message ?? null };
  }

  async #checkDatabase(): Promise<Check> {
    try {
      await this.#probeDatabase();
      return { ok: true, problem: null };
    } catch (error) {
      return {
        ok: false,
        problem: `The database cannot be read: ${messageOf(error)}. Check the disk and the data path.`,
      };
    }
  }
}
