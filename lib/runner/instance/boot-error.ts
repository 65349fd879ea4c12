import type { LogEntry } from "../../domain/calls/invocations.ts";
import { AppError, type Reason } from "../../domain/errors.ts";

/** Thrown for an instance that did not boot. No call has reached it. */
export class BootError extends AppError {
  /** What the function printed until then. */
  readonly logs: readonly LogEntry[];

  constructor(reason: Reason, message: string, logs: readonly LogEntry[]) {
    super(reason, message);
    this.logs = logs;
  }
}
