import type { Reason } from "../../domain/errors.ts";
import type { Invocation, LogEntry } from "../../domain/calls/invocations.ts";
import { RESPONSE_META_BYTES } from "../../domain/limits.ts";
import { parseResponseMeta, PLAIN_RESPONSE, type ResponseMeta } from "../../domain/calls/response-meta.ts";
import type { RetryWish } from "../../domain/functions/retry.ts";
import { getSystemErrorName } from "node:util";
import type { ExitFrame, FailedStage, GateFrame, ResponseState } from "../gate-protocol/frames.ts";
import { OUT_OF_MEMORY } from "../platform.ts";
import type { LogCollector } from "./log-collector.ts";

type Failed = Extract<GateFrame, { type: "failed" }>;

/** What became of one run in an instance; the fields of the record that only the runner knows. */
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
  /** What the caller gets, or null where that is an error of ours. */
  readonly response: Uint8Array | null;
  /** Whether that is response.body, which may be any bytes, and not response.json. */
  readonly body_file: boolean;
  /** What response.meta.json says of it; null where the function wrote none, or there is no response. */
  readonly meta: ResponseMeta | null;
  /** What the function said of another attempt, where it wrote a response.meta.json, however it ended. */
  readonly wish: RetryWish;
  readonly logs: readonly LogEntry[];
}

/** What a function answered with, as the gate read it. */
export interface AnswerFiles {
  /** Of response.json or response.body. */
  readonly response: Uint8Array;
  /** Of response.meta.json. */
  readonly meta: Uint8Array;
}

/** What of a run is known beside its frames. */
export interface RunFacts {
  readonly logs: LogCollector;
  readonly timeout_ms: number;
  readonly response_limit: number;
  /** The image's command, for messages. */
  readonly command: readonly string[];
}

const UNTOUCHED = Buffer.from("{}");
const SIGKILL = 9;

/** Judges a run by the gate's report and the answer (the table of DESIGN.md section 2). */
export function judge(exit: ExitFrame, { response, meta }: AnswerFiles, facts: RunFacts): Outcome {
  const usage = {
    exit_code: exit.signal === 0 ? exit.exitCode : null,
    signal: exit.signal === 0 ? null : exit.signal,
    cpu_ms: (exit.userUs + exit.systemUs) / 1000,
    peak_memory_bytes: exit.peakBytes,
    response_bytes: exit.responseState === "fine" ? response.length : null,
    log_dropped_bytes: exit.logDroppedBytes,
  };
  // A shell that lost a child to the kernel exits with 128 + 9.
  const killed = exit.signal === SIGKILL || exit.exitCode === 128 + SIGKILL;
  if (exit.oomKills > 0 && killed) return failed(facts, "out_of_memory", OUT_OF_MEMORY, usage);
  const success = exit.signal === 0 && exit.exitCode === 0;
  const message = `The function ${exit.signal === 0 ? `exited with code ${exit.exitCode}` : `was ended by signal ${exit.signal}`}`;
  const said = readMeta(exit, meta);
  const wish = "meta" in said ? wishOf(said.meta) : {};
  const problem = responseProblem(exit, response, facts.response_limit) ?? ("reason" in said ? said : undefined);
  if (problem) return failed(facts, problem.reason, `${message}, and ${problem.message}: see its logs`, usage);
  if (!success && !exit.bodyFile && UNTOUCHED.equals(response)) {
    return failed(facts, "function_failed", `${message} and wrote no response: see its logs`, { ...usage, wish });
  }
  const answer = { wish, response, body_file: exit.bodyFile, meta: "meta" in said ? said.meta : null, ...usage };
  for (const line of answer.meta?.dropped ?? []) facts.logs.add("stderr", Buffer.from(`slipway: ${line}\n`));
  if (success) return finished(facts, { status: "succeeded", reason: null, message: null, ...answer });
  return finished(facts, { status: "failed", reason: "function_failed", message, ...answer });
}

function wishOf(meta: ResponseMeta | null): RetryWish {
  const { retry, retry_after_ms } = meta ?? PLAIN_RESPONSE;
  return { ...(retry !== undefined && { retry }), ...(retry_after_ms !== undefined && { retry_after_ms }) };
}

/** What response.meta.json says, or what is wrong with it. */
function readMeta(exit: ExitFrame, bytes: Uint8Array): { readonly meta: ResponseMeta | null } | Problem {
  if (exit.metaState === "missing") return { meta: null };
  const unusable = fileProblem("response.meta.json", exit.metaState, RESPONSE_META_BYTES);
  if (unusable !== undefined) return { reason: "invalid_response", message: unusable.message };
  const meta = parseResponseMeta(bytes);
  if ("problem" in meta) return { reason: "invalid_response", message: `response.meta.json ${meta.problem}` };
  return { meta };
}

/** A run that the gate could not begin. */
export function judgeFailed({ stage, errno }: Failed, facts: RunFacts): Outcome {
  const why = errorName(errno);
  const command = JSON.stringify(facts.command[0] ?? "");
  const messages = {
    context: `The context could not be made: ${why}. Raise "context_bytes" or "memory_bytes".`,
    request: `The request could not be written into the context: ${why}. Raise "context_bytes", and "memory_bytes" above it.`,
    start: `No process could be started: ${why}. Raise "pids" or "memory_bytes".`,
    exec: `The command ${command} cannot be executed: ${why}. Check the image's ENTRYPOINT and CMD, or the function's "entrypoint" and "command".`,
    frames: "The gate did not understand the server: try again; if it stays, report it with the server's log",
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

/** A run that reached its deadline. */
export function timedOut(facts: RunFacts, exit?: ExitFrame): Outcome {
  return finished(facts, {
    ...NOTHING_KNOWN,
    status: "timed_out",
    reason: "function_timeout",
    message: `The function ran past its timeout of ${facts.timeout_ms} ms and was ended: raise "timeout_ms", or see its logs`,
    ...(exit && {
      exit_code: exit.signal === 0 ? exit.exitCode : null,
      signal: exit.signal === 0 ? null : exit.signal,
      cpu_ms: (exit.userUs + exit.systemUs) / 1000,
      peak_memory_bytes: exit.peakBytes,
      log_dropped_bytes: exit.logDroppedBytes,
    }),
  });
}

/** A run whose caller went away. */
export function cancelled(facts: RunFacts): Outcome {
  return finished(facts, {
    ...NOTHING_KNOWN,
    status: "cancelled",
    reason: "cancelled",
    message: "The client went away and the function was ended",
  });
}

/** A run that failed for a reason of ours, or of the engine's. */
export function failed(
  facts: Pick<RunFacts, "logs">,
  reason: Reason,
  message: string,
  known: Partial<Outcome> = {},
): Outcome {
  return finished(facts, { ...NOTHING_KNOWN, ...known, status: "failed", reason, message, response: null });
}

const NOTHING_KNOWN = {
  exit_code: null,
  signal: null,
  cpu_ms: null,
  peak_memory_bytes: null,
  response: null,
  body_file: false,
  meta: null,
  wish: {},
  response_bytes: null,
  log_dropped_bytes: 0,
} as const;

function finished(facts: Pick<RunFacts, "logs">, outcome: Omit<Outcome, "logs" | "log_bytes">): Outcome {
  const message = outcome.message === null ? null : facts.logs.mask(outcome.message);
  return { ...outcome, message, logs: facts.logs.finish(), log_bytes: facts.logs.bytes };
}

/** Why an answer is none. */
interface Problem {
  readonly reason: Reason;
  readonly message: string;
}

function fileProblem(name: string, state: ResponseState, limit: number): Problem | undefined {
  switch (state) {
    case "fine":
      return undefined;
    case "missing":
      return { reason: "invalid_response", message: `${name} is gone` };
    case "no_regular_file":
      return { reason: "invalid_response", message: `${name} is not a regular file` };
    case "over_limit":
      return { reason: "response_too_large", message: `${name} is over the limit of ${limit} bytes` };
    case "unreadable":
      return { reason: "invalid_response", message: `${name} could not be read` };
  }
}

/** What is wrong with a response, or nothing. Its bytes are looked at, never changed: numbers beyond 2^53 stay as they are. */
function responseProblem(exit: ExitFrame, response: Uint8Array, limit: number): Problem | undefined {
  const unusable = fileProblem(exit.bodyFile ? "response.body" : "response.json", exit.responseState, limit);
  if (unusable !== undefined || exit.bodyFile) return unusable;
  if (response.length === 0) return { reason: "invalid_response", message: "response.json is empty" };
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(response));
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^JSON Parse error: /, "") : "";
    return { reason: "invalid_response", message: `response.json is not JSON: ${why}` };
  }
}

const EXPLAINED: Readonly<Record<string, string>> = {
  ENOENT: "no such file (or the interpreter that it names is missing)",
  EACCES: "it is not executable",
  ENOEXEC: "it is no program for this machine (a script needs a first line such as #!/bin/sh)",
  ENOSPC: "no space left",
  EAGAIN: "too many processes",
  E2BIG: "its variables and arguments are too long together",
};

function errorName(errno: number): string {
  try {
    const name = getSystemErrorName(-errno);
    return EXPLAINED[name] ?? name;
  } catch {
    return `error ${errno}`;
  }
}
