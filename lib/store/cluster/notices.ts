/**
 * The subjects of a notice: invocations whose state has changed, invocations that the server that runs them is to cancel, and functions
 * of which a place has become free, or is waited for.
 */
export const NOTICE_KINDS = ["changed", "cancel", "freed", "wanted"] as const;
export type NoticeKind = (typeof NOTICE_KINDS)[number];

/** News of another server. */
export interface Notice extends Readonly<Record<NoticeKind, readonly string[]>> {
  /** True if there is more than this: there was too much to say, or some of it has been missed. */
  readonly more: boolean;
}

/**
 * Passes news between the servers of a database. Nothing may rely on them: whoever has missed some learns the same by looking,
 * a second or so later.
 */
export interface Notices {
  /** Tells the other servers, at most every 50 ms and with everything since then in one notice. */
  send(kind: NoticeKind, id: string): void;
  /** Calls `run` with each notice of another server, one after the other. It must not throw. */
  listen(run: (notice: Notice) => void): void;
}
