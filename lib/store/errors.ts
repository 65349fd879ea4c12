/**
 * A database that cannot be opened, backed up or migrated. The message is for the person who started the process: it
 * names the file and the remedy. It never reaches a caller of the API.
 */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

/** A write was refused because what it was based on has changed since it was read: read again, and decide again. */
export class StaleError extends Error {
  override readonly name = "StaleError";

  constructor() {
    super("The state that the write was based on has changed");
  }
}

/** Runs `work`, which reads, decides and writes, again for as long as others change what it has read before it writes. */
export async function retryStale<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
    }
  }
}
