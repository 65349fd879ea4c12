/**
 * Keeps the records that writes under way will leave. A change that is based on them, and not on the records of now, can
 * share its commit with those writes; otherwise each of many changes of one record would wait for the commit before it.
 */
export class PendingWrites<R extends { readonly id: string }> {
  readonly #latest = new Map<string, R>();

  /** Returns the record as the last write under way will leave it, if there is one. */
  get(id: string): R | undefined {
    return this.#latest.get(id);
  }

  /** Keeps a record for as long as the write of it is under way, unless a later one takes its place. */
  async during<T>(record: R, write: Promise<T>): Promise<T> {
    this.#latest.set(record.id, record);
    try {
      return await write;
    } finally {
      if (this.#latest.get(record.id) === record) this.#latest.delete(record.id);
    }
  }
}
