import { ROOT_CONTEXT, type SpanContext, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import { ExportResultCode, TraceState } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace";
import type { CallersTrace } from "../../domain/tracing/trace-context.ts";
import { VERSION } from "../../version.ts";
import type { TracingSettings } from "./settings.ts";
import type { Span } from "./span.ts";

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

/**
 * The part of tracing that is made of OpenTelemetry's packages, which are loaded with this file and only if spans are exported.
 * Whatever the options do not say, such as certificates, compression and the time limit, the exporter itself reads from its variables.
 */
export class Otlp {
  readonly #exporter: OTLPTraceExporter;
  readonly #resource: ReadableSpan["resource"];
  readonly #sampler: Sampler;

  constructor({ url, headers, service_name, resource, sampler, sampler_arg }: TracingSettings) {
    this.#exporter = new OTLPTraceExporter({ url, headers: { ...headers } });
    const own = { "service.version": VERSION, ...resource, "service.name": service_name };
    this.#resource = defaultResource().merge(resourceFromAttributes(own));
    this.#sampler = samplerOf(sampler, sampler_arg);
  }

  /** Returns whether a trace is recorded; `caller` is left out if the trace begins here. */
  samples(traceId: string, caller?: CallersTrace): boolean {
    const parent: SpanContext | undefined = caller && {
      traceId,
      spanId: caller.parent_span_id,
      traceFlags: caller.trace_flags,
      isRemote: true,
    };
    const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
    const { decision } = this.#sampler.shouldSample(context, traceId, "", SpanKind.SERVER, {}, []);
    return decision === SamplingDecision.RECORD_AND_SAMPLED;
  }

  /** Sends spans; rejects if the collector has not taken them. */
  send(spans: readonly Span[]): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#exporter.export(
      spans.map((span) => this.#readable(span)),
      ({ code, error }) => {
        if (code === ExportResultCode.SUCCESS) resolve();
        else reject(error ?? new Error("The collector refused them"));
      },
    );
    return promise;
  }

  /** Closes the connections. */
  async stop(): Promise<void> {
    await this.#exporter.shutdown();
  }

  #readable(span: Span): ReadableSpan {
    const { trace_id, trace_flags, tracestate, span_id, parent_span_id, began, ended, attributes, has_failed } = span;
    const context = (spanId: string, isRemote: boolean): SpanContext => ({
      traceId: trace_id,
      spanId,
      traceFlags: trace_flags & TraceFlags.SAMPLED,
      isRemote,
      ...(tracestate !== null && { traceState: new TraceState(tracestate) }),
    });
    const own = context(span_id, false);
    return {
      name: span.name,
      kind: KINDS[span.kind],
      spanContext: () => own,
      ...(parent_span_id !== null && { parentSpanContext: context(parent_span_id, span.is_parent_remote) }),
      startTime: hrTime(began),
      endTime: hrTime(ended),
      duration: hrTime(ended - began),
      status: { code: has_failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
      attributes: { ...attributes },
      links: [],
      events: [],
      ended: true,
      resource: this.#resource,
      instrumentationScope: { name: "slipway", version: VERSION },
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    };
  }
}

function samplerOf(name: TracingSettings["sampler"], arg: number): Sampler {
  const inner = name.endsWith("traceidratio")
    ? new TraceIdRatioBasedSampler(arg)
    : name.endsWith("always_off")
      ? new AlwaysOffSampler()
      : new AlwaysOnSampler();
  return name.startsWith("parentbased_") ? new ParentBasedSampler({ root: inner }) : inner;
}

/** Returns a time as OpenTelemetry writes it: seconds and nanoseconds. Records have microseconds. */
function hrTime(ms: number): [number, number] {
  const us = Math.round(ms * 1000);
  return [Math.floor(us / 1_000_000), (us % 1_000_000) * 1000];
}
