import type { Database, Statement } from "./database.ts";

/** Secrets, the only place of their SQL. Values are sealed: what is in the database tells nothing without its key. */
export class SecretStore {
  readonly #anySealed: Statement<{ found: number }>;

  constructor(database: Database) {
    this.#anySealed = database.prepare(
      "select exists (select 1 from secrets) or exists (select 1 from registries) as found",
    );
  }

  /** Whether there is anything that only the key of the vault can open, the passwords of registries included. */
  anythingSealed(): boolean {
    return this.#anySealed.get()?.found === 1;
  }
}
