/**
 * Thrown if a database cannot be opened, backed up or migrated. The message is for the person who started the process:
 * it names the file and the remedy. It never reaches a caller of the API.
 */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

/** Thrown if a write is refused because its basis has changed since it was read: read again, and decide again. */
export class StaleError extends Error {
  override readonly name = "StaleError";

  constructor() {
    super("The state that the write was based on has changed");
  }
}

/** Runs `work`, which reads, decides and writes, and repeats it while others change what it has read in between. */
export async function retryStale<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
    }
  }
}
