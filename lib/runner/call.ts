import type { Function } from "../domain/functions/functions.ts";
import type { RequestMessage } from "../domain/calls/http-message.ts";
import type { Invocation, LogEntry } from "../domain/calls/invocations.ts";
import type { SecretValues } from "../domain/secrets.ts";
import type { Run } from "./instance/instance.ts";

/** A call as the services hand it over. */
export interface Call {
  readonly id: string;
  readonly function: Function;
  readonly body: Uint8Array;
  /** Whether the function finds the body as `request.body` too. */
  readonly body_file: boolean;
  /** What `request.meta.json` tells of the request; null for a call that came by no request. */
  readonly message: RequestMessage | null;
  readonly secrets: SecretValues;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Told the waits as they end, so that a call that fails later still has them in its record. */
  readonly onTiming: (timing: Partial<Pick<Invocation, "queue_ms" | "start_ms" | "run_ms" | "start">>) => void;
  /** Told what the function prints, as it comes. */
  readonly onLogs?: (entries: readonly LogEntry[]) => void;
  /** Awaited before the function is handed the request: from then on it may run for so many milliseconds. */
  readonly onHandover?: (forMs: number) => Promise<void>;
}

/** A run as the services get it. */
export interface RunnerRun extends Run {
  /** Settles when the run's container is known to be gone. */
  readonly gone: () => Promise<void>;
}
