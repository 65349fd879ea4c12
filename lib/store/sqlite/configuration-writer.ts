import type { Basis } from "../configuration.ts";
import { StaleError } from "../errors.ts";
import type { Database } from "./database/database.ts";
import type { Step } from "./database/long-transaction.ts";

/** The options of a write of the configuration. */
interface WriteOptions<T> {
  /** The state that the write depends on; without it, the write is right whatever has changed. */
  readonly basis?: Basis | undefined;
  /** Called right after the commit, before any other code can look: caches are updated here. */
  readonly committed?: (result: T) => void;
}

/** Reads that others may disturb before changes have to wait for one. */
const FREE_READS = 2;

/** Makes all changes of the configuration, and numbers them. */
export class ConfigurationWriter {
  readonly #database: Database;
  #revision = 0;
  /** Settles when changes may be made again. */
  #held: Promise<void> | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The number of changes so far. A change whose commit fails also counts: it only makes others look again. */
  get revision(): number {
    return this.#revision;
  }

  /** Counts a change that another server has made. */
  noteChange(): void {
    this.#revision++;
  }

  /** Settles when nobody reads everything as of one moment. */
  async whenFree(): Promise<void> {
    while (this.#held !== undefined) await this.#held;
  }

  /** Runs `work` in a durable transaction (see `Database.durably`). Throws a `StaleError` if its basis has changed. */
  async write<T>(work: () => T, { basis, committed }: WriteOptions<T> = {}): Promise<T> {
    while (this.#held !== undefined) await this.#held;
    const change = () => {
      if (basis !== undefined && basis.revision !== this.#revision) throw new StaleError();
      const result = work();
      this.#revision++;
      return result;
    };
    return this.#database.durably(change, committed);
  }

  /** Like `write` for thousands of rows (see `Database.inSlices`). */
  async writeInSlices(
    stepsOn: (connection: Database) => Promise<readonly Step[]>,
    { basis, committed, rehearsal }: { basis: Basis; committed: () => void; rehearsal: boolean },
  ): Promise<void> {
    while (this.#held !== undefined) await this.#held;
    await this.#database.inSlices(stepsOn, {
      check: () => {
        if (basis.revision !== this.#revision) throw new StaleError();
      },
      committed: () => {
        this.#revision++;
        committed();
      },
      rehearsal,
    });
  }

  /**
   * Returns what `read` finds as of one moment, although it lets others have their turn in between: it is read again if
   * something was changed meanwhile, and in the end changes wait for it.
   */
  async asOfOneMoment<T>(read: () => Promise<T>): Promise<T> {
    for (let tries = 0; tries < FREE_READS; tries++) {
      const revision = this.#revision;
      const found = await read();
      if (revision === this.#revision) return found;
    }
    while (this.#held !== undefined) await this.#held;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    try {
      // After the changes that are under way.
      await this.#database.durably(() => undefined);
      return await read();
    } finally {
      this.#held = undefined;
      resolve();
    }
  }
}
