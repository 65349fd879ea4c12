/** Records in memory at most. Most are small; with environments at their limit, these are 128 MiB. */
const ENTRIES = 256;

/**
 * What was read of a table, by what it was asked for, until the table changes. It is right because one process owns the
 * database, and the store tells it of each write that was committed (see `Database.durably`). In the midst of a transaction
 * it stands aside: nobody else may see what is not committed, and the transaction must.
 */
export class Cache<V extends object> {
  readonly #entries = new Map<string, V>();
  readonly #inTransaction: () => boolean;

  constructor(inTransaction: () => boolean) {
    this.#inTransaction = inTransaction;
  }

  /** What is known under this key, else what `read` finds. What is not there is asked for again each time. */
  get(key: string, read: () => V | undefined): V | undefined {
    if (this.#inTransaction()) return read();
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const found = read();
    if (found !== undefined) this.set(key, found);
    return found;
  }

  /** What is under this key from now on; to be told after a commit. */
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
