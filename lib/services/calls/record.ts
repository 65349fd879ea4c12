import type { FunctionRequest } from "../../domain/calls/http-message.ts";
import type { Function } from "../../domain/functions/functions.ts";
import { AppError } from "../../domain/errors.ts";
import { type Invocation, NOT_RUN } from "../../domain/calls/invocations.ts";
import { type TracePlace, UNTRACED } from "../../domain/tracing/trace-context.ts";
import type { Outcome } from "../../runner/instance/outcome.ts";
import type { Metrics } from "../../metrics.ts";
import type { Exchanged } from "../tracing/spans.ts";

/** The function that is called, and the way by which its caller came to it. */
export interface Target {
  readonly function: Function;
  /** The route that led to it; null if the call named the function itself. */
  readonly route_id: string | null;
  /** The id of the caller's key; null if none was needed. */
  readonly key_id: string | null;
}

/** Returns the record of an invocation that begins. */
export function newRecord(
  id: string,
  { function: fn, route_id, key_id }: Target,
  requestBytes: number,
  now: string,
  trace: TracePlace = UNTRACED,
): Invocation {
  return {
    id,
    function_id: fn.id,
    route_id,
    image_id: fn.image_id,
    status: "running",
    ...NOT_RUN,
    request_bytes: requestBytes,
    mode: "sync",
    attempts: 1,
    priority: 0,
    run_at: null,
    version: fn.version,
    contract: fn.contract,
    parent_id: null,
    replay_of: null,
    schedule_id: null,
    chain_depth: 0,
    callback_url: null,
    key_id,
    undelivered: null,
    ...trace,
    created_at: now,
  };
}

/** Returns the record of an invocation that an error has ended. */
export function endedBy(record: Invocation, { reason, message }: AppError, finished_at: string): Invocation {
  return { ...record, status: reason === "cancelled" ? "cancelled" : "failed", reason, message, finished_at };
}

/** The times that a call has in its record as its waits end. */
const TIMES = ["queue_ms", "start_ms", "run_ms"] as const;

/** Rounds times to microseconds, the resolution of these clocks. */
export function rounded(timing: Partial<Invocation>): Partial<Invocation> {
  const result: { -readonly [name in keyof Invocation]?: Invocation[name] } = { ...timing };
  for (const name of TIMES) {
    const value = timing[name];
    if (typeof value === "number") result[name] = Math.round(value * 1000) / 1000;
  }
  return result;
}

/** Returns the fields of a record that an outcome has. */
export function known(outcome: Outcome): Omit<Outcome, "response" | "wish" | "logs" | "sent_bytes"> {
  const { response: _response, wish: _wish, logs: _logs, sent_bytes: _sent, ...fields } = outcome;
  return fields;
}

/** Returns what a record says instead of an outcome if something other than its caller has ended the call; nothing if not. */
export function verdictOf(
  { status }: Pick<Outcome, "status">,
  { aborted, reason: why }: AbortSignal,
): Partial<Pick<Outcome, "status" | "reason" | "message">> {
  if (status !== "cancelled" || !aborted || !(why instanceof AppError) || why.reason === "cancelled") return {};
  const { reason, message } = why;
  return { status: reason === "function_timeout" ? "timed_out" : "failed", reason, message };
}

/** Returns the name of a function in metrics. */
export function labelOf({ id, name }: Pick<Function, "id" | "name">): string {
  return name ?? id;
}

/** Counts a run that has ended, and measures its waits. */
export function countRun(metrics: Metrics, run: CountedRun, fn: Pick<Function, "id" | "name">): void {
  const { status, start, queue_ms, start_ms, first_byte_ms, run_ms, request_bytes, response_bytes } = run;
  const label = labelOf(fn);
  metrics.invocations.inc({ function: label, status, start: start ?? "none" });
  metrics.bodyBytes.add(label, request_bytes, response_bytes ?? 0);
  if (queue_ms !== null) metrics.queueSeconds.observe({ function: label }, queue_ms / 1000);
  if (start_ms !== null) metrics.startSeconds.observe({ function: label }, start_ms / 1000);
  if (first_byte_ms !== null) metrics.firstByteSeconds.observe({ function: label }, first_byte_ms / 1000);
  if (run_ms !== null) metrics.runSeconds.observe({ function: label }, run_ms / 1000);
}

type CountedRun = Pick<
  Invocation,
  "status" | "start" | "queue_ms" | "start_ms" | "first_byte_ms" | "run_ms" | "request_bytes" | "response_bytes"
>;

/** Returns what a trace says of a call over HTTP. */
export function exchangedOf(
  { request: { method, via } }: { readonly request: Pick<FunctionRequest, "method" | "via"> },
  outcome?: Outcome,
): Exchanged {
  return { method, via, response_status: outcome?.response?.status ?? null };
}

/** Returns why a call was given up before its function ran: its client went away, or its body was refused. */
export function whyGone({ reason }: AbortSignal): AppError {
  if (reason instanceof AppError) return reason;
  return new AppError("cancelled", "The client went away before the function ran");
}
