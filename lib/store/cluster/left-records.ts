/** A synchronous invocation that runs, as its record says, on another server that no longer reports itself. */
export interface LeftRecord {
  readonly id: string;
  readonly function_id: string;
  readonly version: number | null;
  /** The server that wrote the record. */
  readonly holder: string;
  /** The time since the server was last heard of, or since the call came if that was later, in milliseconds. */
  readonly silent_ms: number;
}

/** The running records of servers that are gone, or cut off from the database. */
export interface LeftRecordStore {
  /** Lists up to a thousand of them whose server has been silent for at least `silentMs`, oldest first. */
  list(silentMs: number): Promise<LeftRecord[]>;
  /**
   * Ends these as lost, as of `now` (milliseconds since the epoch), with a message for each; not those that have ended meanwhile.
   * Returns the ids of those that it has ended. If the server comes back and knows the real end, that replaces this one.
   */
  end(lost: readonly (Pick<LeftRecord, "id"> & { readonly message: string })[], now: number): Promise<string[]>;
}
