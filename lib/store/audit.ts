import type { AuditEntry, AuditPage, AuditQuery } from "../domain/audit.ts";

/** The limits of the entries that are kept, for each kind of event: strangers must not push out what administrators did. */
export interface AuditRetention {
  /** Milliseconds since the epoch. */
  readonly before: number;
  readonly keep: Readonly<Record<AuditEntry["event"], number>>;
  /** The most entries to remove at once. */
  readonly batch: number;
}

/** Keeps who did what. */
export interface AuditLog {
  /** Writes entries in one transaction. They survive the death of the process, not of the machine. */
  append(entries: readonly Omit<AuditEntry, "id">[]): Promise<void>;
  list(query: AuditQuery): Promise<AuditPage>;
  /** Removes old entries, at most a batch of each kind; returns how many. */
  prune(retention: AuditRetention): Promise<number>;
}
