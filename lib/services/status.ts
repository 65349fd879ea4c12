import type { Clock } from "../clock.ts";
import { AppError, messageOf } from "../domain/errors.ts";
import type { Runner } from "../runner/runner.ts";

/** The state of a part of the server: `ok`, or the cause of its problem and how to fix it. */
export interface Check {
  readonly ok: boolean;
  readonly problem: string | null;
  /** A risk in a part that works, and how to remove it; left out if there is none. */
  readonly warning?: string;
}

export interface Readiness {
  readonly ready: boolean;
  /** Only while the server is about to stop: it still takes calls, and is to be sent no more. */
  readonly stopping?: true;
  readonly engine: Check;
  readonly database: Check;
}

/** The time that an answer is kept, in milliseconds: anyone may ask, and each look costs a request to the engine. */
const FRESH_MS = 1_000;

interface StatusDeps {
  readonly runner: Pick<Runner, "probe" | "problem">;
  /** Rejects if the database cannot be used; returns what its owner should know besides. */
  readonly probeDatabase: () => Promise<string | undefined>;
  readonly clock: Pick<Clock, "monotonic">;
}

/** An answer, when it was known (infinity until then), and what was known of the engine at that moment. */
interface Look {
  readonly answer: Promise<Readiness>;
  known_at: number;
  problem: AppError | undefined;
}

/** Checks whether the server can run functions. */
export class StatusService {
  readonly #deps: StatusDeps;
  #latest: Look | undefined;
  #isLeaving = false;

  constructor(deps: StatusDeps) {
    this.#deps = deps;
  }

  /** Says from now on that the server is not ready: it is about to stop. */
  leave(): void {
    this.#isLeaving = true;
  }

  /** Returns the state, as `#known` knows it. */
  async readiness(): Promise<Readiness> {
    const known = await this.#known();
    return this.#isLeaving ? { ...known, ready: false, stopping: true } : known;
  }

  /**
   * Returns the state of at most a second ago; what has become known of the engine since then counts at once. All who ask
   * while it is found out get the same answer.
   */
  #known(): Promise<Readiness> {
    const { runner, clock } = this.#deps;
    const { known_at = -Infinity, problem } = this.#latest ?? {};
    const isFresh = clock.monotonic() - known_at < FRESH_MS && (known_at === Infinity || problem === runner.problem);
    if (this.#latest !== undefined && isFresh) return this.#latest.answer;
    const latest: Look = { answer: this.#look(), known_at: Infinity, problem: undefined };
    this.#latest = latest;
    const known = () => {
      latest.known_at = clock.monotonic();
      latest.problem = runner.problem;
    };
    latest.answer.then(known, known);
    return latest.answer;
  }

  async #look(): Promise<Readiness> {
    const engine = await this.#checkEngine();
    const database = await this.#checkDatabase();
    return { ready: engine.ok && database.ok, engine, database };
  }

  async #checkEngine(): Promise<Check> {
    // The probe comes first: right after the start, all that is known is that the engine was not asked yet.
    const problem = (await this.#deps.runner.probe()) ?? this.#deps.runner.problem;
    return { ok: problem === undefined, problem: problem?.message ?? null };
  }

  async #checkDatabase(): Promise<Check> {
    try {
      const warning = await this.#deps.probeDatabase();
      return { ok: true, problem: null, ...(warning !== undefined && { warning }) };
    } catch (error) {
      // Its own words, where it can be read and not written.
      if (error instanceof AppError) return { ok: false, problem: error.message };
      return {
        ok: false,
        problem: `The database cannot be read: ${messageOf(error)}. Check the disk and the data path.`,
      };
    }
  }
}
