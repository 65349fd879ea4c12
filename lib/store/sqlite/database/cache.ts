/** The most records in memory. Most are small; with environments at their limit, these are 128 MiB. */
const ENTRIES = 256;

/**
 * Caches the records of a table by key until the table changes. It is right because one process owns the database, and the
 * store updates it after each commit (see `Database.durably`). During a transaction reads go around it: the transaction
 * must see its own changes, and nobody else may see them before the commit.
 */
export class Cache<V extends object> {
  readonly #entries = new Map<string, V>();
  readonly #inTransaction: () => boolean;

  constructor(inTransaction: () => boolean) {
    this.#inTransaction = inTransaction;
  }

  /** Returns the cached record, else the one that `read` finds. A missing record is read again each time. */
  get(key: string, read: () => V | undefined): V | undefined {
    if (this.#inTransaction()) return read();
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const found = read();
    if (found !== undefined) this.set(key, found);
    return found;
  }

  /** Caches a record; call it after a commit. */
  set(key: string, value: V): void {
    this.#entries.set(key, value);
    if (this.#entries.size > ENTRIES) this.#dropOldest();
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }

  #dropOldest(): void {
    for (const key of this.#entries.keys()) {
      this.#entries.delete(key);
      return;
    }
  }
}
