import type { FunctionRequest } from "../../domain/calls/http-message.ts";
import type { Invocation } from "../../domain/calls/invocations.ts";
import {
  callersTrace,
  type CallersTrace,
  innerSpanId,
  SAMPLED,
  spanIdOf,
  traceHeaders,
  traceIdOf,
  type TracePlace,
  UNTRACED,
} from "../../domain/tracing/trace-context.ts";
import type { End } from "../../store/ledger.ts";
import {
  type Delivered,
  type Exchanged,
  type Glossary,
  runSpanName,
  spanOfDelivery,
  spansOfCall,
  spansOfEnd,
  spansOfLostCall,
} from "./spans.ts";
import type { Span } from "./span.ts";

/** The export of spans. */
export interface SpanExport {
  /** Returns whether a trace is recorded; `caller` is left out if the trace begins here. */
  samples(traceId: string, caller?: CallersTrace): boolean;
  /** Takes spans, which are made when their turn comes. Never throws. */
  add(make: () => readonly Span[]): void;
  readonly glossary: Glossary;
}

type Headers = Readonly<Record<string, string>>;

/**
 * Keeps calls in their traces (W3C Trace Context): takes the trace of a caller over, begins new ones, and hands them on to
 * functions, callbacks and followers. With an export, calls also leave spans: they are made of the times in records, after the
 * end. Without one, a trace is passed on as it came, as this server has no spans that others could be children of.
 */
export class Tracing {
  readonly #export: SpanExport | null;

  constructor(spanExport: SpanExport | null) {
    this.#export = spanExport;
  }

  /** Returns the place of an invocation that begins with these headers, or by itself. */
  begin(id: string, headers: Headers): TracePlace {
    const caller = headers["traceparent"] === undefined ? undefined : callersTrace(headers);
    if (this.#export === null) return caller === undefined ? UNTRACED : { ...caller };
    const trace_id = caller?.trace_id ?? traceIdOf(id);
    const isSampled = this.#export.samples(trace_id, caller);
    return {
      trace_id,
      parent_span_id: caller?.parent_span_id ?? null,
      trace_flags: ((caller?.trace_flags ?? 0) & ~SAMPLED) | (isSampled ? SAMPLED : 0),
      tracestate: caller?.tracestate ?? null,
    };
  }

  /** Returns the place of an invocation that follows another one: in the same trace, which begins with the first one if it has none. */
  following(before: Invocation): TracePlace {
    const { id, trace_id, parent_span_id, trace_flags, tracestate } = before;
    if (trace_id === null) {
      return { trace_id: traceIdOf(id), parent_span_id: spanIdOf(id), trace_flags: 0, tracestate: null };
    }
    return {
      trace_id,
      parent_span_id: this.#isExported(before) ? spanIdOf(id) : (parent_span_id ?? spanIdOf(id)),
      trace_flags,
      tracestate,
    };
  }

  /** Returns a request as its function gets it: in the trace of its invocation, or in none. `attempt` is null if it is synchronous. */
  handedOver<Request extends FunctionRequest>(request: Request, record: Invocation, attempt: number | null): Request {
    const { traceparent, tracestate, ...others } = request.headers;
    if (record.trace_id === null && traceparent === undefined && tracestate === undefined) return request;
    const span = innerSpanId(record.id, runSpanName(attempt));
    return { ...request, headers: { ...others, ...this.#onward(record, span) } };
  }

  /** Returns the span of an attempt to send a callback, and the headers that name it to the receiver. */
  delivering(record: Invocation, attempt: number): { readonly span_id: string; readonly headers: Headers } {
    // Not by the attempt alone: a callback that is sent again counts from 1.
    const span_id = innerSpanId(record.id, `callback ${attempt} ${crypto.randomUUID()}`);
    return { span_id, headers: this.#onward(record, span_id) };
  }

  /** Notes the end of a synchronous call. */
  called(record: Invocation, { method, via, response_status }: Exchanged): void {
    if (!this.#isExported(record)) return;
    // Nothing else of the request, which would stay in memory with it.
    const kept = { method, via: via && { host: via.host, route: via.route }, response_status };
    this.#add((glossary) => spansOfCall(record, kept, glossary));
  }

  /** True if calls leave spans. */
  get exports(): boolean {
    return this.#export !== null;
  }

  /** Notes the end of a synchronous call that an earlier server left running. */
  lost(record: Invocation): void {
    if (this.#isExported(record)) this.#add((glossary) => spansOfLostCall(record, glossary));
  }

  /** Notes the end of an attempt, of the invocation, or of both. */
  ended({ invocation, record, left }: End): void {
    if (!this.#isExported(invocation)) return;
    // Without the answer and the requests that follow, for the same reason.
    this.#add((glossary) => spansOfEnd({ invocation, record, left }, glossary));
  }

  /** Notes an attempt to send a callback. */
  delivered(record: Invocation, delivery: Delivered): void {
    if (this.#isExported(record)) this.#export?.add(() => [spanOfDelivery(record, delivery)]);
  }

  #add(make: (glossary: Glossary) => readonly Span[]): void {
    const spanExport = this.#export;
    spanExport?.add(() => make(spanExport.glossary));
  }

  #isExported({ trace_flags }: TracePlace): boolean {
    return this.#export !== null && trace_flags !== null && (trace_flags & SAMPLED) !== 0;
  }

  #onward(record: Invocation, spanId: string): Headers {
    return traceHeaders(record, this.#isExported(record) ? spanId : (record.parent_span_id ?? spanIdOf(record.id)));
  }
}
