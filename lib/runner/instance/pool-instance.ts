/**
 * The states of an instance. `booting` and `draining` are of those that boot before their calls, `resetting` is of the
 * others.
 */
export type InstanceState = "starting" | "booting" | "ready" | "busy" | "resetting" | "draining" | "retired";

/** An instance as pools see it, however its function is spoken to. */
export interface PoolInstance {
  readonly state: InstanceState;
  /** The number of calls that it was handed. */
  readonly calls: number;
  /** The number of further calls that it takes now; it may be `busy` and take more. */
  readonly free: number;
  /** Settles when the instance has been retired. */
  readonly retired: Promise<void>;
  /** Takes no further call, and retires when those that it serves have ended. */
  drain(): void;
  /** Ends the instance in any state. */
  retire(): void;
  /** Settles when nothing of the instance is left. */
  gone(): Promise<void>;
}
