import type { Reason } from "../../domain/errors.ts";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import type { FunctionResponse } from "../../domain/calls/http-message.ts";
import type { RetryWish } from "../../domain/functions/retry.ts";
import type { ExitFrame, FailedStage, GateFrame } from "../gate-protocol/frames.ts";
import type { LogCollector } from "./log-collector.ts";

type Failed = Extract<GateFrame, { type: "failed" }>;

/** The result of one run in an instance: the fields of the record that only the runner knows, and the answer. */
export interface Outcome extends Pick<
  Invocation,
  | "reason"
  | "message"
  | "exit_code"
  | "signal"
  | "cpu_ms"
  | "peak_memory_bytes"
  | "response_bytes"
  | "log_bytes"
  | "log_dropped_bytes"
> {
  readonly status: Exclude<Invocation["status"], "running" | "queued" | "dead">;
  /** The function's own answer, or null if its caller gets an error of ours. */
  readonly response: FunctionResponse | null;
  /** The function's wish about another attempt, if it has one, however it ended. */
  readonly wish: RetryWish;
  /** The time that the instance took until it listened, in milliseconds; only of one that boots, and at its first call. */
  readonly boot_ms?: number;
  /** From handing over the request to the first byte of the answer, in milliseconds; only of functions that stream. */
  readonly first_byte_ms?: number;
  /** The bytes of the request's body that were sent to the function; only of functions that stream. */
  readonly sent_bytes?: number;
  readonly logs: readonly LogEntry[];
}

/** The files of a function's answer, as the gate read them. */
export interface AnswerFiles {
  /** The bytes of response.json or response.body. */
  readonly response: Uint8Array;
  /** The bytes of response.meta.json. */
  readonly meta: Uint8Array;
}

/** The facts of a run besides its frames. */
export interface RunFacts {
  readonly logs: LogCollector;
  readonly timeout_ms: number;
  readonly response_limit: number;
  /** The image's command, for messages. */
  readonly command: readonly string[];
}

/** Returns how a function ended and what it took, by the gate's report. */
export function usageOf(
  { exitCode, signal, userUs, systemUs, peakBytes, logDroppedBytes }: ExitFrame,
  response_bytes: number | null = null,
) {
  return {
    exit_code: signal === 0 ? exitCode : null,
    signal: signal === 0 ? null : signal,
    cpu_ms: (userUs + systemUs) / 1000,
    peak_memory_bytes: peakBytes,
    response_bytes,
    log_dropped_bytes: logDroppedBytes,
  };
}

/** Returns the outcome of a run that the gate could not begin. */
export function judgeFailed({ stage, errno }: Failed, facts: RunFacts): Outcome {
  const why = errorName(errno);
  const command = JSON.stringify(facts.command[0] ?? "");
  const messages = {
    context: `The context could not be created: ${why}. Raise "context_bytes" or "memory_bytes".`,
    request: `The request could not be written into the context: ${why}. Raise "context_bytes", and "memory_bytes" above it.`,
    start: `No process could be started: ${why}. Raise "pids" or "memory_bytes".`,
    exec: `The command ${command} cannot be executed: ${why}. Check the image's ENTRYPOINT and CMD, or the function's "entrypoint" and "command".`,
    frames: "The gate did not understand the server: try again; if it happens again, report it with the server's log",
    secrets: `The secrets could not be written below /run/secrets: ${why}. Raise "memory_bytes", which they count as.`,
  } satisfies Record<FailedStage, string>;
  return failed(facts, REASON_OF[stage], messages[stage]);
}

const REASON_OF = {
  context: "function_failed",
  request: "function_failed",
  start: "function_failed",
  exec: "entrypoint_failed",
  frames: "internal",
  secrets: "function_failed",
} as const satisfies Record<FailedStage, Reason>;

/** Returns the outcome of a run that reached its deadline. */
export function timedOut(facts: RunFacts, exit?: ExitFrame): Outcome {
  return finished(facts, {
    ...NOTHING_KNOWN,
    status: "timed_out",
    reason: "function_timeout",
    message: `The function ran past its timeout of ${facts.timeout_ms} ms and was ended: raise "timeout_ms", or see its logs`,
    ...(exit && usageOf(exit)),
  });
}

/** Returns the outcome of a run whose caller went away. */
export function cancelled(facts: RunFacts): Outcome {
  return finished(facts, {
    ...NOTHING_KNOWN,
    status: "cancelled",
    reason: "cancelled",
    message: "The client went away and the function was ended",
  });
}

/** Returns the outcome of a run that failed for a reason of ours or of the engine's. */
export function failed(
  facts: Pick<RunFacts, "logs">,
  reason: Reason,
  message: string,
  known: Partial<Outcome> = {},
): Outcome {
  return finished(facts, { ...NOTHING_KNOWN, ...known, status: "failed", reason, message, response: null });
}

/** Of a function that has not ended, or whose end nobody has reported. */
export const NOTHING_KNOWN = {
  exit_code: null,
  signal: null,
  cpu_ms: null,
  peak_memory_bytes: null,
  response: null,
  wish: {},
  response_bytes: null,
  log_dropped_bytes: 0,
} as const;

export function finished(facts: Pick<RunFacts, "logs">, outcome: Omit<Outcome, "logs" | "log_bytes">): Outcome {
  const message = outcome.message === null ? null : facts.logs.mask(outcome.message);
  return { ...outcome, message, logs: facts.logs.finish(outcome.log_dropped_bytes), log_bytes: facts.logs.bytes };
}

const EXPLAINED: Readonly<Record<string, string>> = {
  ENOENT: "no such file (or the interpreter that it names is missing)",
  EACCES: "it is not executable",
  ENOEXEC: "it is not a program for this machine (a script needs a first line such as #!/bin/sh)",
  ENOSPC: "no space left",
  EAGAIN: "too many processes",
  E2BIG: "its variables and arguments are too long together",
};

function errorName(errno: number): string {
  try {
    const name = process.getBuiltinModule("node:util").getSystemErrorName(-errno);
    return EXPLAINED[name] ?? name;
  } catch {
    return `error ${errno}`;
  }
}
