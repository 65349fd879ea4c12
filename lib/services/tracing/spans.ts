import type { Attempt } from "../../domain/calls/attempts.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import type { Reason } from "../../domain/errors.ts";
import { innerSpanId, spanIdOf } from "../../domain/tracing/trace-context.ts";
import type { End } from "../../store/ledger.ts";
import type { Span } from "./span.ts";

/** The facts of a synchronous call that its record does not have. */
export interface Exchanged {
  readonly method: string;
  readonly via: { readonly host?: string | undefined; readonly route: string | null } | null;
  /** The status of the function's own answer; null if it gave none. */
  readonly response_status: number | null;
}

/** An attempt to send a callback. */
export interface Delivered {
  readonly span_id: string;
  /** From 1. */
  readonly attempt: number;
  readonly url: string;
  /** The status of the answer; null if there was none. */
  readonly status: number | null;
  readonly has_failed: boolean;
  /** Milliseconds since the epoch. */
  readonly began: number;
  readonly ended: number;
}

type Attributes = Record<string, string | number | boolean>;
/** The fields that the record of an invocation and that of an attempt have in common. */
type Timed = Pick<
  Attempt,
  | "reason"
  | "exit_code"
  | "start"
  | "queue_ms"
  | "start_ms"
  | "boot_ms"
  | "first_byte_ms"
  | "run_ms"
  | "cpu_ms"
  | "peak_memory_bytes"
>;

/** Returns the name by which the span of a run is found; `attempt` is null for a synchronous call. */
export function runSpanName(attempt: number | null): string {
  return attempt === null ? "run" : `attempt ${attempt} run`;
}

/** The facts that spans tell and records do not have. */
export interface Glossary {
  /** Returns the name of a function, or its id if it has none or is deleted. */
  readonly nameOf: (functionId: string) => string;
  /** Returns the HTTP status with which calls that fail for a reason are answered. */
  readonly statusOf: (reason: Reason) => number;
}

/** Returns the spans of a synchronous call: its own, and below it those of its waits and of its run. */
export function spansOfCall(record: Invocation, exchanged: Exchanged, glossary: Glossary): Span[] {
  const began = Date.parse(record.created_at);
  const inner = spansOfWaits(record, record, { parent: spanIdOf(record.id), began, lost: null, attempt: null });
  return [spanOfInvocation(record, inner, glossary, exchanged), ...inner];
}

/** Returns the spans of a synchronous call that an earlier server left running: the record and its begin are all that is known of it. */
export function spansOfLostCall(record: Invocation, glossary: Glossary): Span[] {
  const began = Date.parse(record.created_at);
  const lost = Date.parse(record.finished_at ?? record.created_at);
  const inner = spansOfWaits(record, record, { parent: spanIdOf(record.id), began, lost, attempt: null });
  return [spanOfInvocation(record, inner, glossary), ...inner];
}

/** Returns the spans of what has ended: those of an attempt, if one was made, and that of the invocation if nothing is left to do. */
export function spansOfEnd(
  { invocation, record, left }: Pick<End, "invocation" | "record" | "left">,
  glossary: Glossary,
): Span[] {
  const inner = typeof record === "object" ? spansOfAttempt(invocation, record) : [];
  return left === null ? [spanOfInvocation(invocation, inner, glossary), ...inner] : inner;
}

/** Returns the span of an attempt to send a callback. It does not have the URL, whose path or query often is a secret. */
export function spanOfDelivery(record: Invocation, delivery: Delivered): Span {
  const { span_id, attempt, url, status, has_failed, began, ended } = delivery;
  const { hostname, port, protocol } = new URL(url);
  return spanOf(record, {
    name: "callback",
    kind: "client",
    span_id,
    parent_span_id: spanIdOf(record.id),
    began,
    ended,
    attributes: {
      "http.request.method": "POST",
      "server.address": hostname,
      "server.port": port === "" ? (protocol === "https:" ? 443 : 80) : Number(port),
      ...(status !== null && { "http.response.status_code": status }),
      ...(attempt > 1 && { "http.request.resend_count": attempt - 1 }),
      ...(has_failed && { "error.type": status === null ? "no_answer" : String(status) }),
    },
    has_failed,
  });
}

function spanOfInvocation(
  record: Invocation,
  inner: readonly Span[],
  { nameOf, statusOf }: Glossary,
  exchanged?: Exchanged,
): Span {
  const began = Date.parse(record.created_at);
  const { id, mode, parent_span_id, parent_id, status, reason, finished_at } = record;
  const name = nameOf(record.function_id);
  // Nobody reads the answer to a call that was cancelled.
  const refused = reason === null || reason === "cancelled" ? null : statusOf(reason);
  const answered = exchanged === undefined ? null : (exchanged.response_status ?? refused);
  return spanOf(record, {
    name,
    kind: mode === "async" ? "consumer" : "server",
    span_id: spanIdOf(id),
    parent_span_id,
    is_parent_remote: parent_id === null,
    began,
    // The record's own end has whole milliseconds.
    ended: Math.max(began, Date.parse(finished_at ?? record.created_at), ...inner.map(({ ended }) => ended)),
    attributes: {
      "faas.name": name,
      ...attributesOf(record),
      ...(exchanged && attributesOfExchange(exchanged)),
      ...(answered !== null && { "http.response.status_code": answered }),
    },
    has_failed: status !== "succeeded" || (answered ?? 0) >= 500,
  });
}

function spansOfAttempt(record: Invocation, attempt: Attempt): Span[] {
  const { id } = record;
  const began = Date.parse(attempt.started_at);
  const span_id = innerSpanId(id, `attempt ${attempt.attempt}`);
  const { status, reason, finished_at } = attempt;
  const lost = status === "lost" ? Date.parse(finished_at ?? attempt.started_at) : null;
  const inner = spansOfWaits(record, attempt, { parent: span_id, began, lost, attempt: attempt.attempt });
  const own = spanOf(record, {
    name: "attempt",
    kind: "internal",
    span_id,
    parent_span_id: spanIdOf(id),
    began,
    ended: Math.max(began, Date.parse(finished_at ?? attempt.started_at), ...inner.map(({ ended }) => ended)),
    attributes: {
      "slipway.attempt": attempt.attempt,
      "slipway.status": status,
      ...(reason !== null && { "error.type": reason }),
    },
    has_failed: status !== "succeeded",
  });
  return [own, ...inner];
}

/**
 * Returns the spans of the waits of a call or an attempt, one after the other, and of its run. Those that it did not come to are left
 * out; but of what was lost with its server, at the time `lost`, it is not known how far it came: the function may have handed the
 * span of its run on to others, whose spans would have no parent.
 */
function spansOfWaits(
  record: Invocation,
  { reason, exit_code, start, queue_ms, start_ms, boot_ms, first_byte_ms, run_ms, cpu_ms, peak_memory_bytes }: Timed,
  place: {
    readonly parent: string;
    readonly began: number;
    readonly lost: number | null;
    readonly attempt: number | null;
  },
): Span[] {
  const prefix = place.attempt === null ? "" : `attempt ${place.attempt} `;
  const named = (name: string) => innerSpanId(record.id, prefix + name);
  const starting = place.began + (queue_ms ?? 0);
  const running = starting + (start_ms ?? 0);
  const spans: Span[] = [];
  const add = (name: string, began: number, ended: number, rest: Partial<Span> = {}) => {
    const own = { name, span_id: named(name), parent_span_id: place.parent, began, ended, attributes: {} };
    spans.push(spanOf(record, { kind: "internal", has_failed: false, ...own, ...rest }));
  };
  if (queue_ms !== null) add("queue", place.began, starting);
  if (start_ms !== null) {
    add("start", starting, running, { attributes: start === null ? {} : { "slipway.start": start } });
  }
  // It may have begun before the call did, which then has only waited for the rest.
  if (boot_ms !== null && start_ms !== null && start === "cold") {
    const began = Math.max(starting, running - boot_ms);
    add("boot", began, running, { parent_span_id: named("start"), attributes: { "slipway.boot_ms": boot_ms } });
  }
  const ran = run_ms ?? (place.lost === null ? null : Math.max(0, place.lost - running));
  if (ran !== null) {
    const attributes: Attributes = {
      ...(exit_code !== null && { "process.exit.code": exit_code }),
      ...(first_byte_ms !== null && { "slipway.first_byte_ms": first_byte_ms }),
      ...(cpu_ms !== null && { "slipway.cpu_ms": cpu_ms }),
      ...(peak_memory_bytes !== null && { "slipway.peak_memory_bytes": peak_memory_bytes }),
      ...(reason !== null && { "error.type": reason }),
    };
    const span_id = innerSpanId(record.id, runSpanName(place.attempt));
    add("run", running, running + ran, { span_id, attributes, has_failed: reason !== null });
  }
  return spans;
}

/** The attributes of an invocation: names of the semantic conventions where they have one. Nothing that a caller or a function wrote. */
function attributesOf(record: Invocation): Attributes {
  const { id, function_id, status, reason, start, version, contract, mode, request_bytes, response_bytes } = record;
  const { attempts, parent_id, replay_of, schedule_id } = record;
  return {
    "faas.invocation_id": id,
    "faas.trigger": schedule_id !== null ? "timer" : parent_id !== null ? "other" : "http",
    ...(version !== null && { "faas.version": String(version) }),
    ...(start !== null && { "faas.coldstart": start === "cold" }),
    "slipway.function_id": function_id,
    "slipway.contract": contract,
    "slipway.mode": mode,
    "slipway.status": status,
    "http.request.body.size": request_bytes,
    ...(response_bytes !== null && { "http.response.body.size": response_bytes }),
    ...(mode === "async" && { "slipway.attempts": attempts }),
    ...(parent_id !== null && { "slipway.parent_id": parent_id }),
    ...(replay_of !== null && { "slipway.replay_of": replay_of }),
    ...(schedule_id !== null && { "slipway.schedule_id": schedule_id }),
    ...(reason !== null && { "error.type": reason }),
  };
}

/** The methods that the semantic conventions name; a caller may make up others. */
const METHODS: ReadonlySet<string> = new Set("CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split(" "));

function attributesOfExchange({ method, via }: Exchanged): Attributes {
  const route = via?.route ?? null;
  return {
    "http.request.method": METHODS.has(method) ? method : "_OTHER",
    "http.route": route === null ? "/v1/functions/:id/invoke" : via?.host === undefined ? `/r${route}` : "/*",
  };
}

/** The parts of a span that its invocation does not determine. */
type Part = Omit<Span, "trace_id" | "trace_flags" | "tracestate" | "is_parent_remote"> &
  Partial<Pick<Span, "is_parent_remote">>;

function spanOf({ trace_id, trace_flags, tracestate }: Invocation, part: Part): Span {
  return {
    is_parent_remote: false,
    ...part,
    trace_id: trace_id ?? "",
    trace_flags: trace_flags ?? 0,
    tracestate,
  };
}
