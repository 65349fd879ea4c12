import type { LogEntry } from "../../domain/calls/invocations.ts";
import { AppError, type Reason } from "../../domain/errors.ts";
import type { InitFailure } from "./boot/asking-app.ts";

/** Facts about a boot's end besides its message. */
export interface BootEnd {
  readonly exit_code: number | null;
  readonly signal: number | null;
  /** The report of a function of the contract `lambda` that it cannot start, as it sent it, or the error of one of its extensions. */
  readonly report?: InitFailure["payload"];
}

/** Thrown for an instance that did not boot. No call has reached it. */
export class BootError extends AppError {
  /** The function's output until then. */
  readonly logs: readonly LogEntry[];
  readonly end: BootEnd;

  constructor(
    reason: Reason,
    message: string,
    logs: readonly LogEntry[],
    end: BootEnd = { exit_code: null, signal: null },
  ) {
    super(reason, message);
    this.logs = logs;
    this.end = end;
  }
}
