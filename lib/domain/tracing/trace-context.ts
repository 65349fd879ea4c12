import { type Static, Type } from "@sinclair/typebox";
import { Nullable } from "../types.ts";
import { parseTracestate } from "./tracestate.ts";

/** The place of an invocation in a trace (W3C Trace Context): fields of its record, all null if it belongs to no trace. */
export const TracePlace = Type.Object({
  trace_id: Nullable(
    Type.String({
      description: "The trace that it belongs to (W3C Trace Context); null if it came with none, and none is exported.",
      examples: ["4bf92f3577b34da6a3ce929d0e0e4736"],
    }),
  ),
  parent_span_id: Nullable(
    Type.String({
      description:
        "The span in that trace that caused it: its caller's, or that of the invocation before it in a chain.",
      examples: ["00f067aa0ba902b7"],
    }),
  ),
  trace_flags: Nullable(
    Type.Integer({ description: "The flags of the trace: 1 if it is sampled, that is, recorded.", examples: [1] }),
  ),
  tracestate: Nullable(Type.String({ description: "The `tracestate` that its caller sent.", examples: ["vendor=1"] })),
});
export type TracePlace = Static<typeof TracePlace>;

/** The place of an invocation that belongs to no trace. */
export const UNTRACED = {
  trace_id: null,
  parent_span_id: null,
  trace_flags: null,
  tracestate: null,
} as const satisfies TracePlace;

/** The trace that a caller's headers name. */
export interface CallersTrace {
  /** 32 hex digits in lower case, not all 0. */
  readonly trace_id: string;
  /** The caller's span: 16 hex digits in lower case, not all 0. */
  readonly parent_span_id: string;
  /** 0 to 255; bit 0 says that the caller may have recorded its span. */
  readonly trace_flags: number;
  readonly tracestate: string | null;
}

/** The bit of the flags that says that the caller may have recorded its span. */
export const SAMPLED = 0x01;
/** The bits that version 00 of the header has a meaning for: `SAMPLED`, and that the trace id is random (level 2). */
const KNOWN_FLAGS = 0x03;

/** The fields of `traceparent`, version 00; later versions may have more behind them. */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Returns the trace that headers name; undefined if there is none, or if the `traceparent` is not valid: then a new trace begins. */
export function callersTrace(headers: Readonly<Record<string, string>>): CallersTrace | undefined {
  const { traceparent, tracestate } = headers;
  if (traceparent === undefined) return undefined;
  const [, version, trace_id = "", parent_span_id = "", flags = "", more] = TRACEPARENT.exec(traceparent) ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(trace_id) || /^0+$/.test(parent_span_id)) return undefined;
  const trace_flags = Number.parseInt(flags, 16) & KNOWN_FLAGS;
  return { trace_id, parent_span_id, trace_flags, tracestate: parseTracestate(tracestate) };
}

/** Returns the trace id of a trace that begins with this invocation. */
export function traceIdOf(invocationId: string): string {
  return invocationId.replaceAll("-", "").toLowerCase();
}

/** Returns the id of the span of an invocation: the random half of its own id, so that others can name it wherever it runs. */
export function spanIdOf(invocationId: string): string {
  return traceIdOf(invocationId).slice(16);
}

/** Returns the id of a span within an invocation. It is the same at each call, so that a span can be named before it is made. */
export function innerSpanId(invocationId: string, name: string): string {
  const hash = Bun.hash.xxHash64(`${invocationId} ${name}`);
  return (hash === 0n ? 1n : hash).toString(16).padStart(16, "0");
}

/** Returns the headers with which a request takes its receiver into a trace, as children of a span. */
export function traceHeaders(
  { trace_id, trace_flags, tracestate }: Readonly<TracePlace>,
  spanId: string,
): Readonly<Record<string, string>> {
  if (trace_id === null) return {};
  const flags = (trace_flags ?? 0).toString(16).padStart(2, "0");
  return { traceparent: `00-${trace_id}-${spanId}-${flags}`, ...(tracestate !== null && { tracestate }) };
}

/** Returns the variables with which a process is taken into a trace, by the headers of its request. */
export function traceVariables({
  traceparent,
  tracestate,
}: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  if (traceparent === undefined) return {};
  return { TRACEPARENT: traceparent, ...(tracestate !== undefined && { TRACESTATE: tracestate }) };
}
