import type { Basis } from "../configuration.ts";
import { StaleError } from "../errors.ts";
import type { Database } from "./database/database.ts";

/** The options of a write of the configuration. */
interface WriteOptions<T> {
  /** The state that the write depends on; without it, the write is right whatever has changed. */
  readonly basis?: Basis | undefined;
  /** Called right after the commit, before any other code can look: caches are updated here. */
  readonly committed?: (result: T) => void;
}

/** Makes all changes of the configuration, and numbers them. */
export class ConfigurationWriter {
  readonly #database: Database;
  #revision = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The number of changes so far. A change whose commit fails also counts: it only makes others look again. */
  get revision(): number {
    return this.#revision;
  }

  /** Runs `work` in a durable transaction (see `Database.durably`). Throws a `StaleError` if its basis has changed. */
  write<T>(work: () => T, { basis, committed }: WriteOptions<T> = {}): Promise<T> {
    const change = () => {
      if (basis !== undefined && basis.revision !== this.#revision) throw new StaleError();
      const result = work();
      this.#revision++;
      return result;
    };
    return this.#database.durably(change, committed);
  }
}
