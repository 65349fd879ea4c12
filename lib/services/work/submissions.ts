import type { Invocation } from "../../domain/calls/invocations.ts";
import type { IdempotentRequest } from "../../domain/calls/idempotency.ts";
import { timestamp } from "../../domain/types.ts";
import type { TracePlace } from "../../domain/tracing/trace-context.ts";
import type { NewInvocation } from "../../store/ledger.ts";
import { newRecord, type Target } from "../calls/record.ts";

/** A call that is to be made later. */
export interface Submission {
  /** Becomes the id of the invocation. */
  readonly id: string;
  readonly target: Target;
  readonly body: Uint8Array;
  /** The contents of request.meta.json, as JSON; null if it was not an HTTP request. */
  readonly request_meta: string | null;
  /** The earliest time of the call, in milliseconds since the epoch. */
  readonly due?: number;
  /** When its wait began, if it waits for some time (milliseconds since the epoch), and not for a moment that was named. */
  readonly waits_since?: number | null;
  readonly priority?: number;
  readonly idempotency?: IdempotentRequest;
  readonly origin?: Origin;
}

/** The origin of an invocation, and the destination of its result. */
export type Origin = Partial<
  Pick<Invocation, "parent_id" | "replay_of" | "schedule_id" | "chain_depth" | "callback_url"> & TracePlace
>;

/** Returns the invocation that a submission becomes, as of `now`. */
export function newInvocation(submission: Submission, now: number): NewInvocation {
  const { body, request_meta, waits_since, ...options } = submission;
  return {
    invocation: newQueuedRecord({ ...options, request_bytes: body.length }, now),
    request: { request: body, request_meta },
    ...(typeof waits_since === "number" && { waits_since }),
  };
}

/** Returns the record of an invocation that is to be queued. */
export function newQueuedRecord(
  options: Omit<Submission, "body" | "request_meta"> & Pick<Invocation, "request_bytes">,
  now: number,
): NewInvocation["invocation"] {
  const { id, target, request_bytes, priority = 0, due = now, origin } = options;
  return {
    ...newRecord(id, target, request_bytes, timestamp(now)),
    status: "queued",
    mode: "async",
    attempts: 0,
    priority,
    run_at: timestamp(Math.max(due, now)),
    callback_url: target.function.callback_url,
    ...origin,
  };
}
