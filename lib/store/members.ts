/** A server as it reports itself to the others with the same database. */
export interface Report {
  /** A random name of the process. */
  readonly epoch: string;
  /** The address at which the others reach it; null for one that takes no calls of others. */
  readonly url: string | null;
  /** The version of Slipway. */
  readonly version: string;
  /** The calls that its ready instances could serve at once, by function and version (`ID@VERSION`). */
  readonly ready_calls: Readonly<Record<string, number>>;
  /** The id of its engine; null if it is not known. */
  readonly engine: string | null;
}

/** Another server as it has last reported itself, so many milliseconds ago by the database's clock. */
export interface Member extends Report {
  readonly id: string;
  readonly age_ms: number;
}

/** The servers that share a database. There is none if only one can use it. */
export interface MemberStore {
  /** The id of this server. */
  readonly id: string;
  /** Reports this server, and returns all others by id, the dead of the last day among them. */
  report(own: Report): Promise<Member[]>;
  /** Takes back what the process of this epoch has reported: it serves no more calls. */
  leave(epoch: string): Promise<void>;
}
