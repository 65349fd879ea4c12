import type { Function } from "../domain/functions/functions.ts";
import type { FunctionRequest } from "../domain/calls/http-message.ts";
import type { Invocation, LogEntry } from "../domain/calls/invocations.ts";
import type { SecretValues } from "../domain/secrets.ts";
import type { Run } from "./instance/instance.ts";
import type { SharedPlace } from "./shared-places.ts";

/** A call as the services hand it over. */
export interface Call {
  readonly id: string;
  readonly function: Function;
  readonly request: FunctionRequest;
  readonly secrets: SecretValues;
  /** The place that the call has of those that servers share, if it was reserved; whoever did that gives it back. */
  readonly shared_place?: SharedPlace | undefined;
  /** Aborts when nobody waits for the answer any longer. */
  readonly signal: AbortSignal;
  /** True if the answer is to be stored: then it need not begin before it is complete. */
  readonly collect?: boolean;
  /** True if it must not wait: it is refused (`overloaded`) unless an instance is ready for it. */
  readonly ready_only?: true;
  /** Called as each wait ends, so that a call that fails later still has its times in its record. */
  readonly onTiming: (timing: Partial<Pick<Invocation, "queue_ms" | "start_ms" | "run_ms" | "start">>) => void;
  /** Called with the function's output as it comes. */
  readonly onLogs?: (entries: readonly LogEntry[]) => void;
  /**
   * Awaited just before the function gets the request, with the milliseconds that it may run from then on. Settles with the moment of
   * the clock (`monotonic`) by which it must have it.
   */
  readonly onHandover?: (forMs: number) => Promise<number>;
}

/** A run as the services get it. */
export interface RunnerRun extends Run {
  /** Settles when nothing of the run's instance is left. */
  readonly gone: () => Promise<void>;
}
