/** The places of functions whose `max_concurrency` counts the calls of all servers of a database. */
export interface SharedPlaceStore {
  /**
   * Sets how many places of a function this server has, as far as the others leave so many: it keeps those that it had. Returns how
   * many it has then. Idempotent.
   */
  set(functionId: string, asked: AskedPlaces): Promise<number>;
  /** Gives back all places that an earlier process of this server had. */
  clear(): Promise<void>;
}

/** The places of a function that a server asks for. */
export interface AskedPlaces {
  readonly places: number;
  /** The places of all servers. */
  readonly most: number;
  /** Milliseconds since the epoch: from `until` on the others take the places of this server to be free. */
  readonly now: number;
  readonly until: number;
}
