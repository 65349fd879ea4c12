/**
 * Lets reads of the configuration see what other servers have written, without waiting for their news. Nothing here rejects, or waits
 * for long: if the database does not answer, the configuration is what was last known.
 */
export interface CatchUp {
  /** Settles when reads see everything that was written, on any server, before the call. */
  now(): Promise<void>;
  /**
   * The same for a request that names something unknown, such as a wrong key: strangers can send any number of those, so after
   * one that found no change the next ones wait together, for up to a tenth of a second.
   */
  forUnknown(): Promise<void>;
}
